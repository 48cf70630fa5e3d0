//! The token in a callback address, by which a report shows that it answers a request of ours.
//!
//! Seed 3's providers sign nothing. The address to which one is asked to report therefore carries a
//! token that only we can make, for this provider and this message: a caller of that address was
//! given it by us.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::digest::hex;

/// The least length of a secret: what Standard Webhooks asks for.
const SECRET_BYTES_MIN: usize = 24;

/// The key that tokens are made with.
#[derive(Clone)]
pub struct CallbackKey(Hmac<Sha256>);

impl CallbackKey {
    /// Takes any text of at least 24 bytes. The error says what is wrong and never quotes the
    /// secret.
    pub fn parse(secret: &str) -> Result<Self, String> {
        let long_enough = secret.len() >= SECRET_BYTES_MIN;
        let mac = Hmac::new_from_slice(secret.as_bytes())
            .ok()
            .filter(|_| long_enough);
        mac.map(Self)
            .ok_or_else(|| format!("a secret must have {SECRET_BYTES_MIN} bytes or more"))
    }

    /// The token for a provider's report about a message, in hex.
    pub fn token(&self, provider: &str, message_id: &str) -> String {
        let mac = self
            .0
            .clone()
            .chain_update(format!("{provider}.{message_id}"));
        hex(&mac.finalize().into_bytes())
    }

    /// This is the token for a report of this provider about this message. A wrong one takes the
    /// same time however much of it is right.
    pub fn verifies(&self, provider: &str, message_id: &str, token: &str) -> bool {
        self.token(provider, message_id)
            .as_bytes()
            .ct_eq(token.as_bytes())
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of twenty-four b";

    #[test]
    fn a_token_is_of_one_provider_one_message_and_one_secret() {
        let key = CallbackKey::parse(SECRET).unwrap();
        let token = key.token("callback", "m1");
        assert_eq!(token.len(), 64);
        assert!(key.verifies("callback", "m1", &token));
        assert!(!key.verifies("callback", "m2", &token) && !key.verifies("other", "m1", &token));
        assert!(
            !key.verifies("callback", "m1", &token[1..]) && !key.verifies("callback", "m1", "")
        );
        assert!(
            !CallbackKey::parse(&SECRET.to_uppercase())
                .unwrap()
                .verifies("callback", "m1", &token)
        );
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(CallbackKey::parse(&SECRET[..23]).is_err());
        assert!(CallbackKey::parse(&SECRET[..24]).is_ok());
    }
}
