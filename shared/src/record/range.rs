//! Reading the record by time: one stream of messages over the 16 shards of each day.
//!
//! Each shard is a lane that is read page by page; the stream always takes the nearest message of all
//! lanes, so it is in order of id, which is the order of time. A reader that may look at a limited number of
//! pages says where it paused, and nothing before that place was left out.

use std::collections::{HashMap, VecDeque};
use std::mem::take;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::messages::Messages;
use super::{Item, RecordError, from_item, text, unavailable};
use crate::id::{Id, MessageId, SHARDS, day_shard};
use crate::message::Message;

/// Items that one query reads at most.
pub const PAGE_SIZE_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// What a message has to be to be read: a filter expression on aliased names.
#[derive(Clone, Default)]
pub struct Filter {
    expressions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    /// No value will do, which DynamoDB has no words for.
    fits_nothing: bool,
}

impl Filter {
    /// The attribute has one of these values.
    pub fn one_of(mut self, name: &str, values: Vec<AttributeValue>) -> Self {
        self.fits_nothing |= values.is_empty();
        let places: Vec<_> = (0..values.len()).map(|n| format!(":{name}{n}")).collect();
        self.expressions.push(format!("#{name} IN ({})", places.join(", ")));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.extend(places.into_iter().zip(values));
        self
    }
}

/// What the stream yields.
#[derive(Debug)]
pub enum Step {
    Message(Box<Message>),
    /// The pages are used up: everything up to this id was read, the id itself included.
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
    lanes: Vec<Lane>,
    page_size: i32,
    pages_left: usize,
    last: MessageId,
}

#[derive(Default)]
struct Lane {
    shard: u8,
    read: VecDeque<Message>,
    rest: Rest,
}

/// What is left of a lane behind the messages that were read.
#[derive(Default, Clone)]
enum Rest {
    #[default]
    All,
    After(Item),
    Nothing,
}

impl Messages {
    /// Reads the messages from `from` to `to` in at most `pages_max` pages of `page_size` items, one lane each.
    pub fn range(
        &self,
        order: Order,
        from: MessageId,
        to: MessageId,
        filter: Filter,
        page_size: usize,
        pages_max: usize,
    ) -> Range {
        let (first, last) = if order == Order::OldestFirst { (from, to) } else { (to, from) };
        Range {
            messages: self.clone(),
            day: (from <= to && !filter.fits_nothing).then(|| first.day()),
            order,
            filter,
            from,
            to,
            lanes: lanes(),
            page_size: page_size.clamp(1, PAGE_SIZE_MAX) as i32,
            pages_left: pages_max,
            last,
        }
    }
}

impl Range {
    /// The next message in order.
    pub async fn next(&mut self) -> Result<Step, RecordError> {
        while let Some(day) = self.day {
            if let Some(paused) = self.fill(day).await? {
                return Ok(paused);
            }
            if let Some(message) = self.nearest() {
                return Ok(Step::Message(Box::new(message)));
            }
            self.day = self.day_after(day);
            self.lanes = lanes();
        }
        Ok(Step::End)
    }

    /// Reads a page of every lane that has run dry, so that the nearest message of all is known.
    async fn fill(&mut self, day: Date) -> Result<Option<Step>, RecordError> {
        loop {
            let dry: Vec<_> = self.lanes.iter().filter(|lane| lane.is_dry()).map(|lane| lane.shard).collect();
            if dry.is_empty() {
                return Ok(None);
            }
            if self.pages_left < dry.len() {
                return Ok(Some(self.pause(day)));
            }
            self.pages_left -= dry.len();
            let pages = try_join_all(dry.iter().map(|&shard| self.page(day, shard))).await?;
            for (shard, (read, rest)) in dry.into_iter().zip(pages) {
                let lane = &mut self.lanes[usize::from(shard)];
                lane.read.extend(read);
                lane.rest = rest;
            }
        }
    }

    /// With no page left, goes on with what was read, up to where the first dry lane stands.
    fn pause(&mut self, day: Date) -> Step {
        let dry = self.lanes.iter().filter(|lane| lane.is_dry());
        let places = dry.map(|lane| lane.place().unwrap_or_else(|| self.edge(day)));
        let place = match self.order {
            Order::OldestFirst => places.min(),
            Order::NewestFirst => places.max(),
        };
        let place = place.unwrap_or(self.last);
        let head = self.lanes.iter().filter_map(Lane::head).min_by(|a, b| self.compare(*a, *b));
        match head {
            Some(head) if self.compare(head, place).is_le() => match self.nearest() {
                Some(message) => Step::Message(Box::new(message)),
                None => Step::Paused(place),
            },
            _ => Step::Paused(place),
        }
    }

    /// The place just before the first message that the day can have, seen in the order of reading.
    fn edge(&self, day: Date) -> MessageId {
        match self.order {
            Order::OldestFirst => MessageId::first_of(start_of(day)),
            Order::NewestFirst => MessageId::first_of(start_of(day.saturating_add(1.day()))),
        }
    }

    fn nearest(&mut self) -> Option<Message> {
        let order = self.order;
        let lane = self.lanes.iter_mut().filter(|lane| lane.head().is_some()).min_by(|a, b| {
            let heads = a.head().cmp(&b.head());
            if order == Order::OldestFirst { heads } else { heads.reverse() }
        })?;
        lane.read.pop_front()
    }

    fn compare(&self, a: MessageId, b: MessageId) -> std::cmp::Ordering {
        if self.order == Order::OldestFirst { a.cmp(&b) } else { b.cmp(&a) }
    }

    fn day_after(&self, day: Date) -> Option<Date> {
        let (next, within) = match self.order {
            Order::OldestFirst => (day.saturating_add(1.day()), day < self.to.day()),
            Order::NewestFirst => (day.saturating_sub(1.day()), day > self.from.day()),
        };
        within.then_some(next)
    }

    async fn page(&self, day: Date, shard: u8) -> Result<(Vec<Message>, Rest), RecordError> {
        let start = match &self.lanes[usize::from(shard)].rest {
            Rest::After(key) => Some(key.clone()),
            Rest::All | Rest::Nothing => None,
        };
        let mut filter = self.filter.clone();
        let query = self
            .messages
            .client
            .query()
            .table_name(&self.messages.table)
            .key_condition_expression("#day_shard = :day_shard AND #id BETWEEN :from AND :to")
            .expression_attribute_names("#day_shard", "day_shard")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":day_shard", text(day_shard(day, shard)))
            .expression_attribute_values(":from", text(self.from))
            .expression_attribute_values(":to", text(self.to))
            .scan_index_forward(self.order == Order::OldestFirst)
            .set_exclusive_start_key(start)
            .limit(self.page_size);
        let query = take(&mut filter.names)
            .into_iter()
            .fold(query, |query, (name, of)| query.expression_attribute_names(name, of));
        let query = take(&mut filter.values)
            .into_iter()
            .fold(query, |query, (name, of)| query.expression_attribute_values(name, of));
        let query =
            query.set_filter_expression((!filter.expressions.is_empty()).then(|| filter.expressions.join(" AND ")));
        let answer = query.send().await.map_err(unavailable("be listed"))?;
        let read = answer.items.unwrap_or_default().into_iter().map(from_item).collect::<Result<_, _>>()?;
        Ok((read, answer.last_evaluated_key.map_or(Rest::Nothing, Rest::After)))
    }
}

impl Lane {
    fn head(&self) -> Option<MessageId> {
        self.read.front().map(|message| message.id)
    }

    fn is_dry(&self) -> bool {
        self.read.is_empty() && !matches!(self.rest, Rest::Nothing)
    }

    /// The last id that was looked at.
    fn place(&self) -> Option<MessageId> {
        match &self.rest {
            Rest::After(key) => key.get("id")?.as_s().ok()?.parse().ok(),
            Rest::All | Rest::Nothing => None,
        }
    }
}

fn lanes() -> Vec<Lane> {
    (0..SHARDS).map(|shard| Lane { shard, ..Lane::default() }).collect()
}

/// The smallest and the largest id that two moments can have.
pub fn bounds<Kind>(from: Timestamp, to: Timestamp) -> (Id<Kind>, Id<Kind>) {
    (Id::first_of(from), Id::new(to, [0xff; 10]))
}

/// Midnight (UTC) at which a day begins.
pub fn start_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH)
}
