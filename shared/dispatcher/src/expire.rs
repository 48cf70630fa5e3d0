//! Ending messages whose validity has passed (W11).

use domain::message::Message;
use record::clock;
use record::transitions::{Applied, Transition};
use tracing::warn;

use crate::Dispatcher;

impl Dispatcher {
    /// Ends these waiting messages as NOT_SENT, EXPIRED; returns how many were.
    pub async fn expire(&self, expired: &[&Message]) -> usize {
        let now = clock::now();
        let transitions: Result<Vec<_>, _> = expired
            .iter()
            .map(|message| Transition::expire(message.id, now))
            .collect();
        let results = match transitions {
            Ok(transitions) => self.record.messages.apply(&transitions).await,
            Err(error) => vec![Err(error)],
        };
        let failed = results.iter().filter(|result| result.is_err()).count();
        if failed > 0 {
            warn!(
                failed,
                "expired messages could not be ended; the next sweep tries again"
            );
        }
        results
            .iter()
            .filter(|result| matches!(result, Ok(Applied::Done)))
            .count()
    }
}
