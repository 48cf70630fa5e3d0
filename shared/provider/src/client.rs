//! The client for one provider, whichever protocol it speaks.
//!
//! `edge` makes the clients from the configuration, and the dispatcher sends with them.

use domain::batch::Answer;
use domain::id::BatchId;
use domain::message::Message;
use domain::provider::{Protocol, Provider, Secrets};
use domain::send_result::SendResult;

use crate::callback::Callback;
use crate::error::ProviderError;
use crate::fastsmsing::FastSmsing;
use crate::messagebird::MessageBird;

/// A provider, and how it is reached.
#[derive(Clone)]
pub struct ProviderClient {
    pub provider: Provider,
    adapter: Adapter,
}

/// One client per protocol. They all report what happened as a [`SendResult`].
#[derive(Clone)]
enum Adapter {
    FastSmsing(FastSmsing),
    MessageBird(MessageBird),
    Callback(Callback),
}

impl ProviderClient {
    /// Makes the client. `public_url` is the address of our own API, which some protocols pass on
    /// with each request as the address to report to.
    ///
    /// Fails if a secret is missing or cannot be used.
    pub fn new(
        provider: Provider,
        secrets: &Secrets,
        public_url: &str,
    ) -> Result<Self, ProviderError> {
        let Secrets {
            token,
            webhook_secrets,
        } = secrets;
        if token.is_empty() && provider.protocol != Protocol::Callback {
            return Err(ProviderError("the token is missing".into()));
        }
        let reports = format!(
            "{}/messages/delivery_status/{}",
            public_url.trim_end_matches('/'),
            provider.name
        );
        let adapter = match provider.protocol {
            Protocol::Fastsmsing => Adapter::FastSmsing(FastSmsing::new(&provider, token)?),
            Protocol::Messagebird => {
                Adapter::MessageBird(MessageBird::new(&provider, token, reports)?)
            }
            Protocol::Callback => {
                Adapter::Callback(Callback::new(&provider, token, webhook_secrets, reports)?)
            }
        };
        Ok(Self { provider, adapter })
    }

    /// Makes one request that carries `messages`, in their order, as batch `id`.
    ///
    /// The same batch always makes the same bytes, so that its idempotency key can be used
    /// again. Messages that do not fit into one request are refused here, as the provider would
    /// refuse them, and nothing is sent.
    pub async fn send(&self, id: BatchId, messages: &[Message]) -> SendResult {
        let grouping = self.provider.grouping();
        let fit = messages
            .iter()
            .enumerate()
            .all(|(n, message)| grouping.fits(&messages[..n], message));
        let Some(first) = messages.first().filter(|_| fit) else {
            let error = Some("does not fit into one request".to_owned());
            return SendResult::Refused {
                answer: Answer {
                    http_status: None,
                    error,
                },
            };
        };
        match &self.adapter {
            Adapter::FastSmsing(fastsmsing) => fastsmsing.send(id, messages).await,
            Adapter::MessageBird(messagebird) => messagebird.send(id, first, messages).await,
            Adapter::Callback(callback) => callback.send(first).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why there is no client with these secrets; empty if there is one.
    fn refusal(protocol: &str, secrets: &str) -> String {
        let entry = r#"{"name":"p","protocol":"P","url":"http://x","rate_per_s":1,"batch_size":1}"#;
        let provider: Provider = serde_json::from_str(&entry.replace('P', protocol)).unwrap();
        assert_eq!(provider.problem(), None);
        let secrets = serde_json::from_str(secrets).unwrap();
        ProviderClient::new(provider, &secrets, "http://us")
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_client_without_the_secrets_of_its_protocol_is_refused() {
        let all = r#"{"token":"t","webhook_secrets":"more-than-twenty-four-bytes"}"#;
        for protocol in ["fastsmsing", "messagebird", "callback"] {
            assert_eq!(refusal(protocol, all), "", "{protocol}");
            assert!(
                refusal(protocol, &all.replace("\"t\"", r#""\n""#)).contains("no header can"),
                "{protocol}"
            );
        }
        let no_token = r#"{"webhook_secrets":"more-than-twenty-four-bytes"}"#;
        assert!(refusal("fastsmsing", no_token).contains("token is missing"));
        assert!(refusal("messagebird", no_token).contains("token is missing"));
        assert_eq!(refusal("callback", no_token), "");
        assert!(
            refusal("callback", r#"{"webhook_secrets":"short"}"#)
                .contains("webhook_secrets: a secret must have")
        );
    }
}
