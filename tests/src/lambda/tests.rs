//! The function in these tests is this test binary itself, run with the one "test" that serves
//! events.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process;
use std::sync::OnceLock;

use anyhow::ensure;
use futures_util::future::join_all;
use lambda_runtime::{Error as FunctionError, LambdaEvent, service_fn};
use serde_json::json;

use super::*;
use crate::template::Source;

/// Not a test: it serves events if Lambda has started this process, and does nothing otherwise.
#[tokio::test]
async fn function() -> Result<(), FunctionError> {
    match env::var_os("AWS_LAMBDA_RUNTIME_API") {
        Some(_) => lambda_runtime::run(service_fn(handle)).await,
        None => Ok(()),
    }
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, FunctionError> {
    match event.payload["do"].as_str() {
        Some("hang") => {
            eprintln!("hanging");
            std::future::pending().await
        }
        Some("die") => process::exit(3),
        Some("fail") => Err("no luck".into()),
        Some("shout") => Ok(json!("x".repeat(7 * 1024 * 1024))),
        _ => {
            eprintln!("played {}", event.payload);
            let names: Vec<String> = env::vars().map(|(name, _)| name).collect();
            Ok(json!({
                "pid": process::id(),
                "deadline_ms": event.context.deadline,
                "names": names,
            }))
        }
    }
}

/// The script that runs this binary as the function. It is written before any process is started,
/// because a file that is open for writing in some process cannot be run.
fn binary() -> Result<PathBuf> {
    static SCRIPT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let write = || -> Result<PathBuf> {
        let test = env::current_exe()?;
        let path = test.with_extension("sh");
        fs::write(
            &path,
            format!(
                "#!/bin/sh\nexec '{}' lambda::tests::function --exact --nocapture\n",
                test.display()
            ),
        )?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        Ok(path)
    };
    SCRIPT
        .get_or_init(|| write().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn lambda(timeout_s: u64, concurrency_max: Option<usize>) -> Result<Lambda> {
    let source = Source {
        path: String::new(),
        queue: String::new(),
        queue_arn: String::new(),
        batch_size: 1,
        window: std::time::Duration::ZERO,
        reports_failures: false,
        concurrency_max,
    };
    let function = template::Function {
        id: "Echo".to_owned(),
        binary: "echo".to_owned(),
        arn: "arn:aws:lambda:eu-central-1:000000000000:function:Echo".to_owned(),
        timeout_s,
        memory_mb: 128,
        log_format: "JSON".to_owned(),
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        routes: Vec::new(),
        sources: vec![source],
        schedules: Vec::new(),
    };
    let endpoints = Endpoints {
        dynamo_url: "http://127.0.0.1:1".to_owned(),
        sqs_url: "http://127.0.0.1:1".to_owned(),
    };
    Lambda::new(
        &[function],
        &BTreeMap::from([("echo".to_owned(), binary()?)]),
        &endpoints,
    )
}

async fn pid(lambda: &Lambda) -> Result<u64> {
    lambda.invoke("echo", json!({})).await?["pid"]
        .as_u64()
        .context("a pid")
}

#[tokio::test]
async fn a_warm_process_is_used_again_and_a_busy_one_is_not() -> Result<()> {
    let lambda = lambda(60, None)?;
    let first = pid(&lambda).await?;
    assert_eq!(pid(&lambda).await?, first);
    let both = join_all([pid(&lambda), pid(&lambda)])
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    assert!(both.contains(&first) && both[0] != both[1], "{both:?}");
    assert_eq!(lambda.activity().running(), 0);
    assert!(
        lambda
            .logs()
            .lines()
            .iter()
            .any(|line| line.function == "echo" && line.text == "played {}")
    );
    Ok(())
}

#[tokio::test]
async fn beyond_the_limit_invocations_wait() -> Result<()> {
    let lambda = lambda(60, Some(2))?;
    let pids = join_all((0..6).map(|_| pid(&lambda)))
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(
        pids.into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        2
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_inherited_that_aws_would_not_give() -> Result<()> {
    let answer = lambda(60, None)?.invoke("echo", json!({})).await?;
    let names = answer["names"].as_array().context("names")?;
    for (name, expected) in [
        ("GREETING", true),
        ("AWS_REGION", true),
        ("HOME", false),
        ("CARGO_MANIFEST_DIR", false),
    ] {
        assert_eq!(names.contains(&json!(name)), expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_process_that_outlives_its_timeout_is_killed() -> Result<()> {
    let lambda = lambda(2, None)?;
    let before = pid(&lambda).await?;
    assert_eq!(
        lambda.invoke("echo", json!({ "do": "hang" })).await,
        Err(InvokeError::TimedOut)
    );
    ensure!(
        !fs::exists(format!("/proc/{before}"))?,
        "{before} still runs"
    );
    assert_ne!(pid(&lambda).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_process_that_dies_fails_its_invocation_only() -> Result<()> {
    let lambda = lambda(60, None)?;
    let died = InvokeError::Crashed("exit status: 3".to_owned());
    assert_eq!(
        lambda.invoke("echo", json!({ "do": "die" })).await,
        Err(died)
    );
    pid(&lambda).await?;
    Ok(())
}

#[tokio::test]
async fn an_error_of_the_function_is_handed_on_and_its_process_stays() -> Result<()> {
    let lambda = lambda(60, None)?;
    let before = pid(&lambda).await?;
    for (what, said) in [
        ("fail", "no luck"),
        ("shout", "Response payload size exceeded"),
    ] {
        match lambda.invoke("echo", json!({ "do": what })).await {
            Err(InvokeError::Function { message, .. }) => {
                assert!(message.starts_with(said), "{message}")
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
    assert_eq!(pid(&lambda).await?, before);
    assert_eq!(
        lambda.invoke("other", json!({})).await,
        Err(InvokeError::Unknown("other".to_owned()))
    );
    Ok(())
}

#[tokio::test]
async fn all_can_be_killed_whatever_they_do() -> Result<()> {
    let lambda = Arc::new(lambda(60, None)?);
    let before = pid(&lambda).await?;
    let mut lines = lambda.logs().subscribe();
    let hanging = tokio::spawn({
        let lambda = Arc::clone(&lambda);
        async move { lambda.invoke("echo", json!({ "do": "hang" })).await }
    });
    while lines.recv().await?.text != "hanging" {}
    lambda.kill_all("echo").await;
    assert_eq!(
        hanging.await?,
        Err(InvokeError::Crashed("signal: 9 (SIGKILL)".to_owned()))
    );
    assert_ne!(pid(&lambda).await?, before);
    lambda.stop().await;
    ensure!(pid(&lambda).await.is_err(), "stopped for good");
    Ok(())
}
