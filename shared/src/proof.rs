//! Proof that a report answers a request of ours.
//!
//! Seed 3's providers sign nothing. The address that one is asked to report to therefore carries a proof that
//! only we can have made, of this provider and this message: whoever calls it was told it by us.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// As many bytes as Standard Webhooks asks of a secret.
const BYTES_MIN: usize = 24;

/// What proofs are made with.
#[derive(Clone)]
pub struct ProofKey(Hmac<Sha256>);

impl ProofKey {
    /// Takes any text of at least 24 bytes; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mac = Hmac::new_from_slice(text.as_bytes()).ok().filter(|_| text.len() >= BYTES_MIN);
        mac.map(Self).ok_or_else(|| format!("a secret must have {BYTES_MIN} bytes or more"))
    }

    /// The proof of a provider's report about a message, in hex.
    pub fn proof(&self, provider: &str, message_id: &str) -> String {
        let mac = self.0.clone().chain_update(format!("{provider}.{message_id}"));
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// This is the proof. A wrong one takes the same time however far it is right.
    pub fn proves(&self, provider: &str, message_id: &str, proof: &str) -> bool {
        self.proof(provider, message_id).as_bytes().ct_eq(proof.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of twenty-four b";

    #[test]
    fn a_proof_is_of_one_provider_one_message_and_one_secret() {
        let key = ProofKey::parse(SECRET).unwrap();
        let proof = key.proof("callback", "m1");
        assert_eq!(proof.len(), 64);
        assert!(key.proves("callback", "m1", &proof));
        assert!(!key.proves("callback", "m2", &proof) && !key.proves("other", "m1", &proof));
        assert!(!key.proves("callback", "m1", &proof[1..]) && !key.proves("callback", "m1", ""));
        assert!(!ProofKey::parse(&SECRET.to_uppercase()).unwrap().proves("callback", "m1", &proof));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(ProofKey::parse(&SECRET[..23]).is_err());
        assert!(ProofKey::parse(&SECRET[..24]).is_ok());
    }
}
