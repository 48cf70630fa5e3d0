//! FastSMSing's wire: one POST carries a whole batch, and one POST is what it bills.
//!
//! # The contract
//!
//! ```text
//! POST {url}/batches
//! Authorization: Bearer <token>
//! Idempotency-Key: <batch id>            a repeat within the provider's key lifetime is answered, not billed, again
//! Content-Type: application/json
//!
//! {"batch_id": "<our id>", "messages": [
//!     {"message_id": "<our id>", "phone_number": "+31633450007", "originator": "MB", "message": "text"}, …]}
//! ```
//!
//! | answer | meaning |
//! |---|---|
//! | 202 `{"request_id": "…", "accepted": n, "refused": [{"message_id": "…", "reason": "…"}]}` | taken and billed once; the refused ones are not sent |
//! | 202 for a repeated key | the first answer again, with the header `Idempotent-Replayed: true`; nothing is billed |
//! | 400, 413, 422 `{"error": {"code": "…", "message": "…"}}` | the batch is refused as a whole and not billed |
//! | 401, 403, 404 | the token or the address is wrong |
//! | 409 | a request with this key is still being worked on |
//! | 429, 503 with `Retry-After: <seconds>` | too fast or too busy; nothing was taken |
//! | 500 `{"error": {…}}` | an error answer: nothing was taken |
//!
//! A message's fate comes later, in batches, to our webhook `POST /messages/delivery_status`, signed as
//! Standard Webhooks asks (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>` over
//! `<id>.<timestamp>.<body>`), as a map from message id to one of three statuses:
//!
//! ```text
//! {"<message id>": "CONFIRMED", "<message id>": "DELIVERED", "<message id>": "FAILED"}
//! ```
//!
//! `GET {url}/invoice?from=<RFC 3339>&to=<RFC 3339>` answers one JSON line per billed request:
//! `{"request_id": "…", "batch_id": "…", "at": "<RFC 3339>", "messages": n, "requests": 1}`.
