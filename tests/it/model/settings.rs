//! What one run assumes: the provider, what may happen and how often, and which rule is broken on
//! purpose.

use super::sets::Set;

/// One configuration. Within it, everything that can happen is tried in every order.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: &'static str,
    /// How many messages callers send: one or two.
    pub(super) messages: u8,
    pub(super) key: Key,
    /// How many requests a dispatcher may make for one batch.
    pub(super) attempts_max: u8,
    /// How many batches of a message may end in an error answer before the message is given up.
    pub(super) errors_max: u8,
    /// How many sweeps run at once. A dispatcher that recovers a batch does the same as a sweep.
    pub(super) sweeps: usize,
    /// How many reports the provider makes of each message that it sent.
    pub(super) reports_max: u8,
    pub(super) reports: &'static [Reported],
    /// Messages because of which the provider refuses a whole batch.
    pub(super) poison: Set,
    /// Messages that the provider refuses while it accepts the rest of the batch.
    pub(super) unwanted: Set,
    pub(super) events: Events,
    pub(super) mutant: Option<Mutant>,
}

/// Whether the provider recognises a repeated request by its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    None,
    Lasting,
    /// The provider forgets the key at any moment after the protocol considers it too old.
    Expiring,
}

/// The status that the provider reports of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reported {
    Confirmed,
    Delivered,
    Failed,
}

/// Something out of the ordinary, which a run allows a limited number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A function is stopped between two of its steps.
    Crash,
    /// The provider's answer does not come. The request arrives later, at any moment, or never.
    Unanswered,
    /// SQS delivers a bell twice.
    Duplicate,
    /// A sweep acts on a batch whose dispatcher is still at work: clocks disagree, or the
    /// dispatcher was suspended.
    Premature,
    /// The record's answer to a write is lost. The write was made or not, and is repeated or given
    /// up.
    Lost,
    /// The record receives a write late, either as a repetition or after its process gave it up.
    Straggler,
    /// The provider answers with an error.
    Error,
    /// The provider refuses a whole batch for a reason that does not lie in its messages.
    Refusal,
    /// The validity of a message ends.
    Lapse,
    /// An operator decides, truthfully, what became of a batch in doubt.
    Decision,
}

/// How often each event may happen, or has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Events([u8; 10]);

/// The rule of the protocol that a run breaks: each variant says what is done instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The sweep releases a claim without a tombstone (W7).
    NoTombstone,
    /// The intent (W3) is written after the request.
    IntentAfterRequest,
    /// A time-out is treated as an error: the request is repeated without a key.
    RepeatAfterTimeout,
    /// A claim (W2) that failed counts as a claim.
    NoClaim,
    /// A member becomes CONFIRMED (W6) without a condition.
    UnconditionalConfirm,
    /// There is no sweep.
    NoSweep,
    /// An UNKNOWN batch makes its members NOT_SENT.
    TimeoutIsNotSent,
    /// A batch that was STARTED long ago is considered unsent.
    LateIsUnsent,
    /// Only CONFIRMED messages accept a report.
    ReportOnlyOnConfirmed,
    /// The sweep considers every message that names a batch a member of it.
    NoMembership,
    /// A batch becomes REJECTED (W5) although an earlier attempt of the same dispatcher went
    /// unanswered.
    RejectAfterDoubt,
    /// A batch becomes REJECTED (W5) although another process has made an attempt.
    NoAttemptFence,

    /// The halves of a refused batch go out before it is REJECTED.
    SplitBeforeReject,
    /// The halves of a refused batch may be put into one batch again.
    HalvesGatheredAgain,
    /// A sweep leaves the tombstone (W7) to another sweep, and releases at once.
    TombstoneLeftToOther,
    /// A dispatcher repeats an unanswered request whose key the provider may have forgotten.
    DispatcherOutlivesKey,
    /// A sweep does so.
    SweepOutlivesKey,

    /// An error answer to a sweep's repetition is taken to mean that no request was sent.
    RepeatProves,
    /// A dispatcher whose intent (W3) failed releases its claims whatever it found instead.
    LostIntentReleases,
    /// A dispatcher whose intent (W3) failed releases its claims even if its tombstone (W7) failed
    /// too.
    TombstoneIgnored,
    /// W11 expires a message in every state that has a transition to NOT_SENT.
    ExpireClaimed,
    /// A report settles its own message and not the batch.
    ReportSkipsBatch,
    /// The state that a report gave a member outranks the provider's refusal of that member.
    ReportBeatsRefusal,
    /// The sweep ignores refused members that a report made look as if they were sent.
    RefusalForgotten,
    /// The sweep ignores UNCONFIRMED messages whose batch is settled.
    UnconfirmedForgotten,
    /// An operator's decision is accepted although another request was begun after it.
    OutdatedDecision,
    /// The sweep ignores messages to which an operator's decision was not applied.
    DecisionForgotten,
}

impl Settings {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            messages: 2,
            key: Key::None,
            attempts_max: 2,
            errors_max: 1,
            sweeps: 1,
            reports_max: 1,
            reports: &[Reported::Delivered],
            poison: Set::EMPTY,
            unwanted: Set::EMPTY,
            events: Events([0; 10]),
            mutant: None,
        }
    }

    /// Allows each of these events so many times.
    pub(super) fn with_events(mut self, events: &[(Event, u8)]) -> Self {
        for (event, times) in events {
            self.events.0[*event as usize] = *times;
        }
        self
    }

    /// The provider never forgets an idempotency key.
    pub(super) fn keyed(self) -> Self {
        Self {
            key: Key::Lasting,
            ..self
        }
    }

    /// The provider forgets idempotency keys.
    pub(super) fn expiring(self) -> Self {
        Self {
            key: Key::Expiring,
            ..self
        }
    }

    pub(super) fn two_sweeps(self) -> Self {
        Self { sweeps: 2, ..self }
    }

    pub(super) fn with_attempts(self, attempts_max: u8) -> Self {
        Self {
            attempts_max,
            ..self
        }
    }

    pub(super) fn with_errors(self, errors_max: u8) -> Self {
        Self { errors_max, ..self }
    }

    pub(super) fn with_reports(self, reports_max: u8) -> Self {
        Self {
            reports_max,
            ..self
        }
    }

    /// The provider may report any status, not DELIVERED alone.
    pub(super) fn with_any_report(self) -> Self {
        let reports = &[Reported::Confirmed, Reported::Delivered, Reported::Failed];
        Self { reports, ..self }
    }

    /// The first message poisons every batch that it is in.
    pub(super) fn poisoned(self) -> Self {
        Self {
            poison: Set::of(0),
            ..self
        }
    }

    /// The provider refuses the second message alone.
    pub(super) fn with_unwanted(self) -> Self {
        Self {
            unwanted: Set::of(1),
            ..self
        }
    }
}

impl Events {
    pub(super) fn of(&self, event: Event) -> u8 {
        self.0[event as usize]
    }

    pub(super) fn count(&mut self, event: Event) {
        self.0[event as usize] += 1;
    }
}
