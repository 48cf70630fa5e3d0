//! Why a provider's client cannot be made.

/// A provider's client cannot be made. The text says why and quotes no secret.
#[derive(Debug, thiserror::Error)]
#[error("the provider can't be used: {0}")]
pub struct ProviderError(pub(crate) String);
