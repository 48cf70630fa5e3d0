//! What one run assumes: the provider, what may happen and how often, and what is broken on purpose.

use super::sets::Set;

/// One configuration. Within it, everything that can happen is tried in every order.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: &'static str,
    /// Messages that callers send: one or two.
    pub(super) messages: u8,
    pub(super) key: Key,
    /// How often one batch is offered.
    pub(super) attempts_max: u8,
    /// Batches that end in an error answer before their messages are given up.
    pub(super) errors_max: u8,
    /// Sweeps at once; dispatch takes up what was left behind as a sweep does.
    pub(super) sweeps: usize,
    /// Reports that the provider makes of each message it sent.
    pub(super) reports_max: u8,
    pub(super) reports: &'static [Told],
    /// Messages for which the provider refuses a whole batch.
    pub(super) poison: Set,
    /// Messages that the provider refuses while it takes the rest of the batch.
    pub(super) unwanted: Set,
    pub(super) events: Events,
    pub(super) mutant: Option<Mutant>,
}

/// Whether the provider tells a repeated request by its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    None,
    Lasting,
    /// It forgets the key at any moment after the protocol counts it as too old.
    Expiring,
}

/// What the provider reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    Confirmed,
    Delivered,
    Failed,
}

/// What does not happen every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A function is stopped between any two of its steps.
    Crash,
    /// The provider's answer does not come. The request arrives later, at any moment, or never.
    Unanswered,
    /// SQS delivers a bell twice.
    Duplicate,
    /// A sweep acts on a batch whose courier is still at it: clocks disagree, or the courier has slept.
    Premature,
    /// The record's answer to a write is lost: the write was made or not, and is repeated or given up.
    Lost,
    /// The record gets a write again, later, whether its first try was heard of or given up.
    Straggler,
    /// The provider answers that it could not.
    Error,
    /// The provider refuses a batch as a whole, for no reason that lies in its messages.
    Refusal,
    /// A message's validity passes.
    Lapse,
    /// An operator says what became of a batch in doubt. It is true.
    Word,
}

/// How often each event may happen, or has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Events([u8; 10]);

/// A rule of the protocol, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Sweep releases a claim without W7.
    NoTombstone,
    /// The batch is written down after the request.
    IntentAfterRequest,
    /// A time-out is an error: without a key, the request is made again.
    RepeatAfterTimeout,
    /// A failed W2 counts as a claim.
    NoClaim,
    /// W6 to CONFIRMED without its condition.
    UnconditionalConfirm,
    /// Nobody sweeps.
    NoSweep,
    /// UNKNOWN is told to the messages as NOT_SENT.
    TimeoutIsNotSent,
    /// A batch that was STARTED long ago is taken for unsent.
    LateIsUnsent,
    /// Reports are taken on CONFIRMED messages only.
    ReportOnlyOnConfirmed,
    /// Sweep takes every message that names a batch for a member.
    NoMembership,
    /// W5 REJECTED even though an earlier attempt of the courier's own went unanswered.
    RejectAfterDoubt,
    /// W5 REJECTED even though somebody else has made an attempt.
    NoAttemptFence,

    /// The halves of a refused batch go out before it is REJECTED.
    SplitBeforeReject,
    /// The halves of a refused batch may be gathered again.
    HalvesGatheredAgain,
    /// A sweep leaves W7 to the other one, and releases.
    TombLeftToTheOther,
    /// The courier repeats an unanswered request whose key may be forgotten.
    CourierOutlivesKey,
    /// Sweep does.
    SweepOutlivesKey,

    /// An error answer to sweep's repeat proves that nothing was sent.
    RepeatProves,
    /// A courier that lost W3 releases, without asking what it lost to.
    LostIntentReleases,
    /// A courier whose W3 failed releases, whatever W7 says.
    AbandonWithoutProof,
    /// W11 from any state that NOT_SENT may come from.
    ExpireClaimed,
    /// A report settles its own message, and not the batch.
    ReportSkipsBatch,
    /// What a report made of a member stands against the provider's own refusal of it.
    ReportBeatsRefusal,
    /// Sweep takes no interest in refused members that a report made look as if they were sent.
    RefusalForgotten,
    /// Sweep takes no interest in UNCONFIRMED messages whose batch is settled.
    UnconfirmedForgotten,
    /// An operator's word is taken though a request was begun after it was given.
    WordOutdated,
    /// Sweep takes no interest in messages that were not told an operator's word.
    WordForgotten,
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
            reports: &[Told::Delivered],
            poison: Set::EMPTY,
            unwanted: Set::EMPTY,
            events: Events([0; 10]),
            mutant: None,
        }
    }

    /// The same, with these events happening up to so often.
    pub(super) fn with(mut self, events: &[(Event, u8)]) -> Self {
        for (event, times) in events {
            self.events.0[*event as usize] = *times;
        }
        self
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
