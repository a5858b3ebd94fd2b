//! What a caller means, and how it becomes a cadence on the server's clock.
//!
//! Callers, models above all, are bad at computing moments. So they say what they mean in fields, and
//! the server reckons: relative delays from its own clock, local times in a zone, the first day of a
//! series. Every field that has no meaning beside the others is refused, each with its path.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time, Weekday},
};
use serde_json::Value;

use super::{
    Cadence, Calendar, Cron, Form, Frequency, Gap, IntentError, Interval, Once, Rule, Zone,
    fields::{self, Fields},
};

/// What a caller means.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    zone: Option<Zone>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    After(SignedDuration),
    Moment(Timestamp),
    Local(DateTime),
    Recurring(Recurring),
    Cron(Cron, Gap),
    Interval(SignedDuration, Option<DateTime>),
}

#[derive(Debug, Clone, PartialEq)]
struct Recurring {
    frequency: Frequency,
    interval: u16,
    start: Option<Date>,
    time: Time,
    weekdays: Vec<Weekday>,
    day_of_month: i8,
    month: i8,
    gap: Gap,
}

/// What the server adds to an intent.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// The zone where the intent names none.
    pub zone: Zone,
    /// How closely occurrences may follow each other.
    pub min_distance: SignedDuration,
}

impl Default for Terms {
    /// UTC, and at most once a day: what a model may do.
    fn default() -> Self {
        Self {
            zone: Zone::utc(),
            min_distance: SignedDuration::from_hours(24),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Word {
    OneOff,
    Recurring,
    Cron,
    Interval,
}

const KINDS: &[(&str, Word)] = &[
    ("one_off", Word::OneOff),
    ("recurring", Word::Recurring),
    ("cron", Word::Cron),
    ("interval", Word::Interval),
];

const UNITS: &[(&str, i64)] = &[
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("week", 604_800),
];

/// The days of the week and their words, Monday first.
pub(super) const WEEKDAYS: &[(&str, Weekday)] = &[
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

impl Intent {
    /// Reads an intent.
    ///
    /// # Errors
    /// Every field that is unknown, missing, malformed or in conflict with others.
    pub fn read(value: &Value) -> Result<Self, IntentError> {
        let mut fields = Fields::new("", value)?;
        fields.need("kind", "say one_off, recurring, cron or interval");
        let kind = fields.word("kind", KINDS);
        let zone = fields.text("timezone").map(Zone::new);
        let zone = zone.and_then(|zone| fields.join(zone));
        let Some(word) = kind else {
            // Without a kind no other field can be judged.
            return fields.finish_early();
        };
        let kind = match word {
            Word::OneOff => read_one_off(&mut fields),
            Word::Recurring => read_recurring(&mut fields),
            Word::Cron => read_cron(&mut fields),
            Word::Interval => read_interval(&mut fields),
        };
        fields.finish(kind.map(|kind| Self { zone, kind }))
    }

    /// Turns the intent into a cadence, on the server's clock.
    ///
    /// # Errors
    /// A moment that has passed or that the clocks jump over, a rule without any occurrence, and one
    /// with too many.
    pub fn compile(self, now: Timestamp, terms: &Terms) -> Result<Cadence, IntentError> {
        let zone = self.zone.unwrap_or_else(|| terms.zone.clone());
        let form = match self.kind {
            Kind::After(span) => Form::Once(Once {
                at_ms: later(now, span, "timing.after")?.as_millisecond(),
                local: None,
            }),
            Kind::Moment(at) => once(at, None, now)?,
            Kind::Local(local) => {
                let at = existing(&zone, local, "timing.at")?;
                once(at, Some(local), now)?
            }
            Kind::Cron(cron, gap) => Form::Cron(cron, gap),
            Kind::Interval(every, start) => Form::Interval(interval(every, start, &zone, now)?),
            Kind::Recurring(rule) => {
                let gap = rule.gap;
                Form::Calendar(anchored(rule, &zone, now)?, gap)
            }
        };
        let cadence = Cadence::new(zone, form);
        if cadence.next_after(now).is_none() {
            let message = "nothing would ever run: no date fits";
            return Err(IntentError::one("", Rule::Never, message));
        }
        check_distance(&cadence, now, terms.min_distance)?;
        Ok(cadence)
    }
}

impl Fields<'_> {
    fn finish_early<T>(mut self) -> Result<T, IntentError> {
        for key in [
            "timing",
            "timezone",
            "frequency",
            "interval",
            "time",
            "weekdays",
            "day_of_month",
            "month",
            "start_date",
            "gap",
            "expression",
            "every",
            "start",
        ] {
            self.value(key);
        }
        self.finish(None)
    }
}

fn read_one_off(fields: &mut Fields<'_>) -> Option<Kind> {
    fields.need("timing", "say after or at");
    let timing = fields.value("timing")?;
    let timing = Fields::new("timing", timing);
    let mut timing = fields.join(timing)?;
    let after = timing.value("after");
    let at = timing.value("at");
    let kind = match (after, at) {
        (Some(after), None) => {
            let span = read_span("timing.after", after);
            timing.join(span).map(Kind::After)
        }
        (None, Some(Value::String(text))) => match moment(text) {
            Ok(at) => Some(Kind::Moment(at)),
            Err(message) => {
                timing.add("at", Rule::Form, message);
                None
            }
        },
        (None, Some(at)) => {
            let local = read_local("timing.at", at);
            timing.join(local).map(Kind::Local)
        }
        (Some(_), Some(_)) => {
            timing.add("at", Rule::Conflict, "say either after or at");
            None
        }
        (None, None) => {
            timing.add("after", Rule::Missing, "say after or at");
            None
        }
    };
    let kind = timing.finish(kind);
    fields.join(kind)
}

fn read_span(path: &str, value: &Value) -> Result<SignedDuration, IntentError> {
    let mut fields = Fields::new(path, value)?;
    fields.need("value", "say how many");
    fields.need("unit", "say second, minute, hour, day or week");
    let value = fields.integer("value", &(1..=100_000));
    let unit = fields.word("unit", UNITS);
    let span = value
        .zip(unit)
        .map(|(value, unit)| SignedDuration::from_secs(value * unit));
    fields.finish(span)
}

fn read_local(path: &str, value: &Value) -> Result<DateTime, IntentError> {
    let mut fields = Fields::new(path, value)?;
    fields.need("date", "say the day as YYYY-MM-DD");
    fields.need("time", "say the time of day as HH:MM");
    let (date, time) = (fields.date("date"), fields.time("time"));
    fields.finish(date.zip(time).map(|(date, time)| date.to_datetime(time)))
}

/// An exact moment: a date, a time and the distance from UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let shown: String = text.chars().take(40).collect();
    let refuse = |why: &str| {
        format!(
            "{shown:?} {why}; write a moment such as 2026-12-01T09:00:00+01:00, or an object with date and time"
        )
    };
    if text.len() > 40 || text.contains('[') {
        return Err(refuse("is no moment"));
    }
    let seconds = text.get(16..19);
    if seconds == Some(":60") {
        return Err(refuse("names a second that is not in the calendar"));
    }
    let has_time = text.get(10..11).is_some_and(|letter| letter == "T");
    let date = text.get(..10).and_then(fields::date);
    match (date, has_time, text.parse()) {
        (None, ..) => Err(refuse("names no day of the calendar")),
        (Some(_), true, Ok(at)) => Ok(at),
        _ => Err(refuse("lacks a time of day or the distance from UTC")),
    }
}

fn read_recurring(fields: &mut Fields<'_>) -> Option<Kind> {
    fields.need(
        "frequency",
        "say daily, weekly, monthly, quarterly or yearly",
    );
    fields.need("time", "say the time of day as HH:MM");
    let frequency = fields.word("frequency", Frequency::ALL);
    let time = fields.time("time");
    let interval = match fields.value("interval") {
        Some(_) => fields.integer("interval", &(1..=365)),
        None => Some(1),
    };
    let start = fields.date("start_date");
    let gap = fields.word("gap", Gap::ALL).unwrap_or_default();
    let weekdays = read_weekdays(fields);
    let day_of_month = fields.integer("day_of_month", &(1..=31));
    let month = fields.integer("month", &(1..=12));
    let frequency = frequency?;
    match frequency {
        Frequency::Weekly => fields.need("weekdays", "say on which days of the week"),
        _ => fields.refuse("weekdays", "only weekly has days of the week"),
    }
    match frequency {
        Frequency::Daily | Frequency::Weekly => {
            fields.refuse(
                "day_of_month",
                "only monthly, quarterly and yearly have a day",
            );
        }
        Frequency::Monthly | Frequency::Quarterly | Frequency::Yearly => {
            fields.need("day_of_month", "say on which day of the month, 1 to 31");
        }
    }
    match frequency {
        Frequency::Yearly => fields.need("month", "say in which month, 1 to 12"),
        _ => fields.refuse("month", "only yearly has a month"),
    }
    Some(Kind::Recurring(Recurring {
        frequency,
        interval: u16::try_from(interval?).ok()?,
        start,
        time: time?,
        weekdays,
        day_of_month: i8::try_from(day_of_month.unwrap_or(1)).ok()?,
        month: i8::try_from(month.unwrap_or(1)).ok()?,
        gap,
    }))
}

fn read_weekdays(fields: &mut Fields<'_>) -> Vec<Weekday> {
    let Some(value) = fields.value("weekdays") else {
        return Vec::new();
    };
    let Some(list) = value.as_array() else {
        let message = format!("must be a list, not {}", fields::kind_of(value));
        fields.add("weekdays", Rule::Type, message);
        return Vec::new();
    };
    if list.is_empty() || list.len() > 7 {
        fields.add("weekdays", Rule::Range, "must name 1 to 7 days of the week");
        return Vec::new();
    }
    let mut days = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let path = format!("weekdays[{index}]");
        match item.as_str().map(|text| fields::word(text, WEEKDAYS)) {
            Some(Ok(day)) => days.push(day),
            Some(Err(message)) => fields.add(&path, Rule::Form, message),
            None => fields.add(&path, Rule::Type, "must be the name of a day"),
        }
    }
    days.sort_by_key(|day| day.to_monday_zero_offset());
    days.dedup();
    days
}

fn read_cron(fields: &mut Fields<'_>) -> Option<Kind> {
    fields.need("expression", "say five fields such as 0 9 * * MON-FRI");
    let gap = fields.word("gap", Gap::ALL).unwrap_or_default();
    let cron = Cron::new(fields.text("expression")?);
    let cron = fields.join(cron)?;
    Some(Kind::Cron(cron, gap))
}

fn read_interval(fields: &mut Fields<'_>) -> Option<Kind> {
    fields.need("every", "say how many of which unit");
    let every = fields.value("every").map(|value| read_span("every", value));
    let every = every.and_then(|every| fields.join(every));
    let start = fields
        .value("start")
        .map(|value| read_local("start", value));
    let start = start.and_then(|start| fields.join(start));
    Some(Kind::Interval(every?, start))
}

fn once(at: Timestamp, local: Option<DateTime>, now: Timestamp) -> Result<Form, IntentError> {
    if at <= now {
        let message = format!("{at} has passed; it is {now}");
        return Err(IntentError::one("timing.at", Rule::Past, message));
    }
    let at_ms = at.as_millisecond();
    Ok(Form::Once(Once { at_ms, local }))
}

fn later(now: Timestamp, span: SignedDuration, path: &str) -> Result<Timestamp, IntentError> {
    now.checked_add(span)
        .map_err(|_| IntentError::one(path, Rule::Range, "is beyond the end of the calendar"))
}

/// The moment of a local time that exists.
fn existing(zone: &Zone, local: DateTime, path: &str) -> Result<Timestamp, IntentError> {
    zone.instant(local).map_err(|missing| {
        let shown = |time: Option<DateTime>| time.map(|time| time.strftime("%H:%M").to_string());
        let hint = match (shown(missing.earlier), shown(missing.later)) {
            (Some(earlier), Some(later)) => format!("; write {earlier} or {later}"),
            _ => String::new(),
        };
        let zone = zone.name();
        let local = local.strftime("%Y-%m-%d %H:%M");
        let message = format!("the clocks of {zone} jump over {local}{hint}");
        IntentError::one(path, Rule::Gap, message)
    })
}

/// Without a start the first occurrence is one span from now.
fn interval(
    every: SignedDuration,
    start: Option<DateTime>,
    zone: &Zone,
    now: Timestamp,
) -> Result<Interval, IntentError> {
    let anchor = match start {
        Some(local) => existing(zone, local, "start")?,
        None => later(now, every, "every")?,
    };
    Ok(Interval {
        every_ms: i64::try_from(every.as_millis()).unwrap_or(i64::MAX),
        anchor_ms: anchor.as_millisecond(),
    })
}

/// Without a start date the first day that fits begins the series.
fn anchored(rule: Recurring, zone: &Zone, now: Timestamp) -> Result<Calendar, IntentError> {
    let today = zone.local(now).date();
    let mut calendar = Calendar {
        frequency: rule.frequency,
        interval: rule.interval,
        start: rule.start.unwrap_or(today),
        time: rule.time,
        weekdays: rule.weekdays,
        day_of_month: rule.day_of_month,
        month: rule.month,
    };
    if rule.start.is_some() {
        return Ok(calendar);
    }
    let first = Calendar {
        // Of every third month too, the first one is the next with that day.
        frequency: match rule.frequency {
            Frequency::Quarterly => Frequency::Monthly,
            other => other,
        },
        interval: 1,
        ..calendar.clone()
    };
    let first = Cadence::new(zone.clone(), Form::Calendar(first, rule.gap));
    match first.slot_after(now) {
        Some(slot) => {
            calendar.start = slot.local.date();
            Ok(calendar)
        }
        None => Err(IntentError::one(
            "",
            Rule::Never,
            "nothing would ever run: no date fits",
        )),
    }
}

fn check_distance(
    cadence: &Cadence,
    now: Timestamp,
    min: SignedDuration,
) -> Result<(), IntentError> {
    let Some(least) = cadence.least_distance(now).filter(|least| *least < min) else {
        return Ok(());
    };
    let path = match cadence.form() {
        Form::Cron(..) => "expression",
        Form::Interval(_) => "every",
        Form::Once(_) | Form::Calendar(..) => "frequency",
    };
    let message = format!(
        "would run {} apart; here the least is {}",
        span(least),
        span(min)
    );
    Err(IntentError::one(path, Rule::TooOften, message))
}

/// A span in its largest whole unit.
pub(super) fn span(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let (word, unit) = UNITS
        .iter()
        .rev()
        .find(|(_, unit)| seconds != 0 && seconds % unit == 0)
        .unwrap_or(&UNITS[0]);
    let count = seconds / unit;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}
