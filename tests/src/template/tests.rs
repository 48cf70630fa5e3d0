use std::time::Duration;

use anyhow::Error;

use super::*;

const TEMPLATE: &str = include_str!("../../../template.yaml");

fn given() -> Given {
    Given {
        parameters: BTreeMap::from([("BatchWindowS".to_owned(), "3".to_owned())]),
        secrets: BTreeMap::from([("sms-proxy/providers".to_owned(), "{}".to_owned())]),
        sqs_url: "http://127.0.0.1:9324".to_owned(),
        api_url: "http://127.0.0.1:9000".to_owned(),
    }
}

fn plan(template: &str) -> Result<Plan> {
    Plan::read(template, &given())
}

/// The error of the template with one line changed.
fn refusal(before: &str, after: &str) -> String {
    assert!(TEMPLATE.contains(before), "the template has no {before:?}");
    refused(plan(&TEMPLATE.replacen(before, after, 1)))
}

fn refused(plan: Result<Plan>) -> String {
    plan.map_or_else(
        |error: Error| error.to_string(),
        |_| "not refused".to_owned(),
    )
}

#[test]
fn the_template_becomes_a_plan() -> Result<()> {
    let plan = plan(TEMPLATE)?;
    let table = plan
        .tables
        .iter()
        .find(|table| table.name == "Messages")
        .context("a table")?;
    let keys: Vec<_> = table
        .keys
        .iter()
        .map(|key| key.attribute_name.as_str())
        .collect();
    assert_eq!(
        (keys, table.ttl.as_deref()),
        (vec!["day_shard", "id"], Some("expires_at"))
    );

    let queue = plan
        .queues
        .iter()
        .find(|queue| queue.name == "Doorbell")
        .context("a queue")?;
    let redrive: Value = serde_json::from_str(&queue.attributes["RedrivePolicy"])?;
    assert_eq!(
        redrive["deadLetterTargetArn"],
        format!("arn:aws:sqs:{REGION}:{ACCOUNT}:DeadBells")
    );
    assert!(redrive["maxReceiveCount"].is_u64());

    let dispatch = plan.function("dispatch")?;
    let source = &dispatch.sources[0];
    assert_eq!(
        (source.queue.as_str(), source.window),
        ("Doorbell", Duration::from_secs(1))
    );
    assert!(source.reports_failures);
    Ok(())
}

#[test]
fn references_parameters_and_secrets_are_resolved() -> Result<()> {
    let plan = plan(TEMPLATE)?;
    let env = &plan.function("dispatch")?.env;
    assert_eq!(
        env["QUEUE_URL"],
        format!("http://127.0.0.1:9324/{ACCOUNT}/Doorbell")
    );
    assert_eq!(env["MESSAGES_TABLE"], "Messages");
    assert_eq!(env["BATCH_WINDOW_S"], "3");
    assert_eq!(env["PROVIDER_SECRETS"], "{}");
    assert_eq!(env["PUBLIC_URL"], "http://127.0.0.1:9000");
    Ok(())
}

#[test]
fn what_is_not_understood_is_named_by_its_path() {
    for (before, after, named) in [
        (
            "      Timeout: 60",
            "      Layers: []",
            "Resources.Dispatch.Properties.Layers",
        ),
        (
            "    MemorySize: 256",
            "    SnapStart: {}",
            "Globals.Function.SnapStart",
        ),
        (
            "            BatchSize: 500",
            "            FilterCriteria: {}",
            "Resources.Dispatch.Properties.Events.Bells.Properties.FilterCriteria",
        ),
        (
            "      VisibilityTimeout: 360",
            "      FifoQueue: true",
            "Resources.Doorbell.Properties.FifoQueue",
        ),
        (
            "Type: AWS::CloudWatch::Dashboard",
            "Type: AWS::CloudWatch::Mural",
            "Resources.Dashboard: AWS::CloudWatch::Mural",
        ),
        (
            "!Ref Messages",
            "!ImportValue Messages",
            "Globals.Function.Environment.Variables.MESSAGES_TABLE: Fn::ImportValue",
        ),
        (
            "            Path: /health",
            "            Path: /health\n            Auth: {}",
            "Resources.Query.Properties.Events.GetHealth.Properties.Auth",
        ),
    ] {
        let refusal = refusal(before, after);
        assert!(
            refusal.starts_with(named) && refusal.ends_with("not understood"),
            "{refusal}"
        );
    }
}

#[test]
fn what_aws_would_refuse_is_refused() {
    for (before, after, named) in [
        (
            "            MaximumBatchingWindowInSeconds: 1\n",
            "",
            "BatchSize above 10",
        ),
        (
            "MaximumConcurrency: 5",
            "MaximumConcurrency: 1",
            "MaximumConcurrency: must be between 2",
        ),
        (
            "VisibilityTimeout: 360",
            "VisibilityTimeout: 59",
            "Doorbell's VisibilityTimeout of 59 s is shorter",
        ),
        (
            "!GetAtt Doorbell.Arn",
            "!GetAtt Doorbel.Arn",
            "there is no Doorbel",
        ),
        (
            "Default: sms-proxy/providers",
            "Default: sms-proxy/provider",
            "no secret sms-proxy/provider was given",
        ),
    ] {
        let refusal = refusal(before, after);
        assert!(refusal.contains(named), "{refusal}");
    }
    let mut given = given();
    given
        .parameters
        .insert("BatchWindowS".to_owned(), "901".to_owned());
    let refusal = refused(Plan::read(TEMPLATE, &given));
    assert_eq!(
        refusal,
        "Parameters.BatchWindowS: must be between 0 and 900, not 901"
    );
}

#[test]
fn a_schedule_is_an_interval() -> Result<()> {
    let tick = [
        "Events:",
        "        Tick:",
        "          Type: ScheduleV2",
        "          Properties:",
        "            ScheduleExpression: rate(1 minute)",
    ]
    .join("\n");
    let plan = plan(&TEMPLATE.replacen("Events:", &tick, 1))?;
    assert_eq!(
        plan.function("send")?.schedules[0].every,
        Duration::from_secs(60)
    );
    Ok(())
}
