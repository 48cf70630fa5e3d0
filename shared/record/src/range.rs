//! Reading messages by time: one stream over the 16 shards of each day.
//!
//! `query` lists with it, newest first; the dispatcher, the sweep and the backlog check of `send`
//! find what waits with it, oldest first. Each shard is read page by page, and the stream always
//! yields the next message of all shards, so it is in order of id, which is the order of time. A
//! reader with a limited number of pages learns where it paused; nothing before that was left out.

use std::collections::VecDeque;

use domain::id::{Id, MessageId, SHARDS, day_shard};
use domain::message::Message;
use futures_util::future::try_join_all;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::filter::Filter;
use crate::messages::Messages;
use crate::{Item, RecordError, from_item, text, unavailable};

/// Items in one query. At about 1 KB each, 16 shards of them take 4 MB of memory.
pub const PAGE_SIZE_MAX: usize = 256;

/// In which order a range is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// What the stream yields.
#[derive(Debug)]
pub enum Step {
    Message(Box<Message>),
    /// The pages are used up. Everything up to this id was read, this id included.
    Paused(MessageId),
    End,
}

/// A stream of messages whose ids lie between two bounds, both included.
pub struct Range {
    messages: Messages,
    order: Order,
    filter: Filter,
    from: MessageId,
    to: MessageId,
    day: Option<Date>,
    shards: Vec<Shard>,
    page_size: usize,
    pages_left: usize,
    last: MessageId,
}

/// How far one shard of the current day has been read.
#[derive(Default)]
struct Shard {
    number: u8,
    read: VecDeque<Message>,
    rest: Rest,
}

/// What is left of a shard after the messages that were read.
#[derive(Default, Clone)]
enum Rest {
    #[default]
    All,
    After(Item),
    Nothing,
}

impl Messages {
    /// Streams the messages that match the filter and whose ids lie between two bounds, both
    /// included. Reads are eventually consistent, so a message written a moment ago may be missing.
    pub fn range(&self, order: Order, (from, to): (MessageId, MessageId), filter: Filter) -> Range {
        let (first, last) = if order == Order::OldestFirst {
            (from, to)
        } else {
            (to, from)
        };
        Range {
            messages: self.clone(),
            day: (from <= to && !filter.matches_nothing()).then(|| first.day()),
            order,
            filter,
            from,
            to,
            shards: all_shards(),
            page_size: PAGE_SIZE_MAX,
            pages_left: usize::MAX,
            last,
        }
    }
}

impl Range {
    /// Limits how many items one query reads, and how many queries are made.
    pub fn in_pages(self, page_size: usize, pages_max: usize) -> Self {
        let page_size = page_size.clamp(1, PAGE_SIZE_MAX);
        Self {
            page_size,
            pages_left: pages_max,
            ..self
        }
    }

    /// Returns the next message in order.
    pub async fn next(&mut self) -> Result<Step, RecordError> {
        while let Some(day) = self.day {
            if let Some(paused) = self.fill(day).await? {
                return Ok(paused);
            }
            if let Some(message) = self.pop_next() {
                return Ok(Step::Message(Box::new(message)));
            }
            self.day = self.day_after(day);
            self.shards = all_shards();
        }
        Ok(Step::End)
    }

    /// Reads a page of every dry shard, so that the next message of all shards is known. Returns
    /// what to yield instead if there are not enough pages left.
    async fn fill(&mut self, day: Date) -> Result<Option<Step>, RecordError> {
        loop {
            let dry: Vec<_> = self
                .shards
                .iter()
                .filter(|shard| shard.is_dry())
                .map(|shard| shard.number)
                .collect();
            if dry.is_empty() {
                return Ok(None);
            }
            if self.pages_left < dry.len() {
                return Ok(Some(self.pause(day)));
            }
            self.pages_left -= dry.len();
            let pages = try_join_all(dry.iter().map(|&number| self.page(day, number))).await?;
            for (number, (read, rest)) in dry.into_iter().zip(pages) {
                let shard = &mut self.shards[usize::from(number)];
                shard.read.extend(read);
                shard.rest = rest;
            }
        }
    }

    /// Without pages, goes on with the messages that were read, as far as the
    /// first dry shard has been read.
    fn pause(&mut self, day: Date) -> Step {
        let dry = self.shards.iter().filter(|shard| shard.is_dry());
        let places = dry.map(|shard| shard.place().unwrap_or_else(|| self.edge(day)));
        let place = match self.order {
            Order::OldestFirst => places.min(),
            Order::NewestFirst => places.max(),
        };
        let place = place.unwrap_or(self.last);
        let head = self
            .shards
            .iter()
            .filter_map(Shard::head)
            .min_by(|a, b| self.compare(*a, *b));
        match head {
            Some(head) if self.compare(head, place).is_le() => match self.pop_next() {
                Some(message) => Step::Message(Box::new(message)),
                None => Step::Paused(place),
            },
            _ => Step::Paused(place),
        }
    }

    /// The place just before the first message that the day can have, in the order of reading.
    fn edge(&self, day: Date) -> MessageId {
        match self.order {
            Order::OldestFirst => MessageId::first_of(start_of(day)),
            Order::NewestFirst => MessageId::first_of(start_of(day.saturating_add(1.day()))),
        }
    }

    /// Takes the next message of all shards from those that were read.
    fn pop_next(&mut self) -> Option<Message> {
        let order = self.order;
        let shard = self
            .shards
            .iter_mut()
            .filter(|shard| shard.head().is_some())
            .min_by(|a, b| {
                let heads = a.head().cmp(&b.head());
                if order == Order::OldestFirst {
                    heads
                } else {
                    heads.reverse()
                }
            })?;
        shard.read.pop_front()
    }

    fn compare(&self, a: MessageId, b: MessageId) -> std::cmp::Ordering {
        if self.order == Order::OldestFirst {
            a.cmp(&b)
        } else {
            b.cmp(&a)
        }
    }

    fn day_after(&self, day: Date) -> Option<Date> {
        let (next, within) = match self.order {
            Order::OldestFirst => (day.saturating_add(1.day()), day < self.to.day()),
            Order::NewestFirst => (day.saturating_sub(1.day()), day > self.from.day()),
        };
        within.then_some(next)
    }

    async fn page(&self, day: Date, number: u8) -> Result<(Vec<Message>, Rest), RecordError> {
        let start = match &self.shards[usize::from(number)].rest {
            Rest::After(key) => Some(key.clone()),
            Rest::All | Rest::Nothing => None,
        };
        let query = self
            .messages
            .client
            .query()
            .table_name(&self.messages.table)
            .key_condition_expression("#day_shard = :day_shard AND #id BETWEEN :from AND :to")
            .expression_attribute_names("#day_shard", "day_shard")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":day_shard", text(day_shard(day, number)))
            .expression_attribute_values(":from", text(self.from))
            .expression_attribute_values(":to", text(self.to))
            .scan_index_forward(self.order == Order::OldestFirst)
            .set_exclusive_start_key(start)
            .limit(self.page_size as i32);
        let query = self.filter.apply(query);
        let answer = query.send().await.map_err(unavailable("list messages"))?;
        let read = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(from_item)
            .collect::<Result<_, _>>()?;
        Ok((
            read,
            answer.last_evaluated_key.map_or(Rest::Nothing, Rest::After),
        ))
    }
}

impl Shard {
    fn head(&self) -> Option<MessageId> {
        self.read.front().map(|message| message.id)
    }

    /// All messages that were read are used, and there may be more.
    fn is_dry(&self) -> bool {
        self.read.is_empty() && !matches!(self.rest, Rest::Nothing)
    }

    /// The last id that was read, whether its message matched or not.
    fn place(&self) -> Option<MessageId> {
        match &self.rest {
            Rest::After(key) => key.get("id")?.as_s().ok()?.parse().ok(),
            Rest::All | Rest::Nothing => None,
        }
    }
}

fn all_shards() -> Vec<Shard> {
    (0..SHARDS)
        .map(|number| Shard {
            number,
            ..Shard::default()
        })
        .collect()
}

/// The smallest id that `from` can have, and the largest that `to` can have.
pub fn bounds<Kind>(from: Timestamp, to: Timestamp) -> (Id<Kind>, Id<Kind>) {
    (Id::first_of(from), Id::new(to, [0xff; 10]))
}

/// The midnight (UTC) at which a day begins.
pub fn start_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC)
        .map(|midnight| midnight.timestamp())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
