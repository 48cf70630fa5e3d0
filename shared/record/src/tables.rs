//! The tables that the dispatcher and the sweep work on, opened together.

use aws_config::SdkConfig;

use crate::batches::Batches;
use crate::messages::Messages;
use crate::numbers::Numbers;
use crate::providers::Providers;

/// What [`open`](Tables::open) opens.
#[derive(Clone)]
pub struct Tables {
    pub messages: Messages,
    pub batches: Batches,
    pub providers: Providers,
    pub numbers: Numbers,
}

impl Tables {
    /// Opens the tables. `name_of` returns a table's name by its configuration
    /// key, and its error is returned.
    pub fn open<E>(
        aws: &SdkConfig,
        name_of: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            messages: Messages::new(aws, name_of("MESSAGES_TABLE")?),
            batches: Batches::new(aws, name_of("BATCHES_TABLE")?),
            providers: Providers::new(aws, name_of("PROVIDERS_TABLE")?),
            numbers: Numbers::new(aws, name_of("NUMBERS_TABLE")?),
        })
    }
}
