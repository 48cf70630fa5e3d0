//! An embedded DynamoDB: the tables of the plan, in memory, served with AWS's own protocol.

use anyhow::{Context, Result};
use dynoxide::Database;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::update_time_to_live::{TimeToLiveSpecification, UpdateTimeToLiveRequest};
use dynoxide::server::serve_with_shutdown;
use serde_json::{Value, json};

use crate::loopback::{Server, listen};
use crate::template::Table;

pub struct Dynamo {
    /// For what no request of the functions can do, such as making items old, and for reads without
    /// the wire.
    pub database: Database,
    server: Server,
}

impl Dynamo {
    pub async fn start(tables: &[Table]) -> Result<Dynamo> {
        let database = Database::memory()?;
        for table in tables {
            create(&database, table).with_context(|| format!("table {}", table.name))?;
        }
        let served = database.clone();
        let server = Server::run(listen(None).await?, |listener, stop| async move {
            let _ = serve_with_shutdown(listener, served, stop.stopped()).await;
        })?;
        Ok(Dynamo { database, server })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }
}

fn create(database: &Database, table: &Table) -> Result<()> {
    let mut request = json!({
        "TableName": table.name,
        "AttributeDefinitions": table.attributes,
        "KeySchema": table.keys,
        "BillingMode": "PAY_PER_REQUEST",
    });
    // An empty list of indexes is an error, as on AWS.
    if !table.indexes.is_empty() {
        request["GlobalSecondaryIndexes"] = serde_json::to_value(&table.indexes)?;
    }
    database.create_table(parse(request)?)?;
    if let Some(attribute) = &table.ttl {
        database.update_time_to_live(UpdateTimeToLiveRequest {
            table_name: table.name.clone(),
            time_to_live_specification: TimeToLiveSpecification {
                attribute_name: attribute.clone(),
                enabled: true,
            },
        })?;
    }
    Ok(())
}

/// Reads the request from JSON, because the server makes its checks there.
fn parse(request: Value) -> Result<CreateTableRequest> {
    Ok(serde_json::from_value(request)?)
}
