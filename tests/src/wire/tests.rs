use axum::Router;
use axum::extract::State;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

const ANSWER: &str = "0123456789";

/// A client, a wire, and an upstream that counts the requests that reach it.
struct Trial {
    reached: watch::Receiver<usize>,
    wire: Wire,
    client: Client<HttpConnector, Full<Bytes>>,
    _upstream: Server,
}

impl Trial {
    async fn start(fault: Fault) -> Result<Trial> {
        async fn answer(State(count): State<Arc<watch::Sender<usize>>>) -> &'static str {
            count.send_modify(|count| *count += 1);
            ANSWER
        }
        let (count, reached) = watch::channel(0);
        let router = Router::new().fallback(answer).with_state(Arc::new(count));
        let upstream = Server::start(listen(None).await?, router)?;
        let wire = Wire::start(&upstream.url()).await?;
        wire.set_rule(move |seen| {
            if seen.operation.as_deref() == Some("PutItem") {
                fault.clone()
            } else {
                Fault::Pass
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Trial {
            reached,
            wire,
            client,
            _upstream: upstream,
        })
    }

    async fn put(&self) -> Result<(u16, Bytes)> {
        let request = Request::post(format!("{}/?a=b", self.wire.url()))
            .header("x-amz-target", "DynamoDB_20120810.PutItem");
        let answer = self.client.request(request.body(Full::from("{}"))?).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    fn reached(&self) -> usize {
        *self.reached.borrow()
    }
}

#[tokio::test]
async fn each_fault_breaks_where_it_says() -> Result<()> {
    for (fault, reached, answer) in [
        (Fault::Pass, 1, Some((200, ANSWER))),
        (Fault::DropRequest, 0, None),
        (Fault::DropAnswer, 1, None),
        (Fault::DelayMs(1), 1, Some((200, ANSWER))),
        (
            Fault::Status(503, "busy".to_owned()),
            0,
            Some((503, "busy")),
        ),
        (Fault::CutBody, 1, None),
    ] {
        let trial = Trial::start(fault.clone()).await?;
        let answer = answer.map(|(status, body)| (status, Bytes::from(body)));
        assert_eq!(trial.put().await.ok(), answer, "{fault:?}");
        assert_eq!(
            (trial.reached(), trial.wire.played(&fault)),
            (reached, 1),
            "{fault:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_body_begins_well() -> Result<()> {
    let trial = Trial::start(Fault::CutBody).await?;
    let request =
        Request::get(trial.wire.url()).header("x-amz-target", "DynamoDB_20120810.PutItem");
    let mut answer = trial.client.request(request.body(Full::default())?).await?;
    assert_eq!(answer.headers()[CONTENT_LENGTH], "10");
    let first = answer
        .frame()
        .await
        .and_then(Result::ok)
        .and_then(|frame| frame.into_data().ok());
    assert_eq!(first, Some(Bytes::from("01234")));
    assert!(matches!(answer.frame().await, Some(Err(_))));
    Ok(())
}

#[tokio::test]
async fn a_late_request_arrives_although_no_client_waits() -> Result<()> {
    let mut trial = Trial::start(Fault::DelayMs(300)).await?;
    let (sender, mut seen) = watch::channel(String::new());
    trial
        .wire
        .observe(move |request| drop(sender.send_replace(request.path.clone())));
    tokio::select! {
        _ = trial.put() => anyhow::bail!("answered before its time"),
        _ = seen.changed() => {}
    }
    assert_eq!(
        (
            seen.borrow().as_str(),
            trial.reached(),
            trial.wire.activity().running()
        ),
        ("/?a=b", 0, 1)
    );
    timeout(
        Duration::from_secs(60),
        trial.reached.wait_for(|reached| *reached == 1),
    )
    .await??;
    Ok(())
}
