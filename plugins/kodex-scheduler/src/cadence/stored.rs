//! How a cadence stands in a record: strict both ways, so that what is read is what was written.

use jiff::civil::{Date, DateTime, Time, Weekday};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Cadence, Calendar, Cron, Form, Frequency, Gap, Interval, Once, Zone,
    fields::{date, time},
    intent::WEEKDAYS,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    timezone: String,
    rule: Rule,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Rule {
    OneOff {
        at_ms: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<String>,
    },
    Interval {
        every_ms: i64,
        anchor_ms: i64,
    },
    Recurring {
        frequency: String,
        interval: u16,
        start_date: String,
        time: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weekdays: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        day_of_month: Option<i8>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        month: Option<i8>,
        gap: String,
    },
    Cron {
        expression: String,
        gap: String,
    },
}

impl Serialize for Cadence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = Stored {
            timezone: self.zone.name().to_owned(),
            rule: store(&self.form),
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cadence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let zone = Zone::new(&stored.timezone).map_err(de::Error::custom)?;
        let form = load(stored.rule).map_err(de::Error::custom)?;
        Ok(Self::new(zone, form))
    }
}

fn name<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> String {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}

fn value<T: Copy>(words: &[(&'static str, T)], name: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == name);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("{name:?} is unknown"))
}

fn store(form: &Form) -> Rule {
    match form {
        Form::Once(once) => Rule::OneOff {
            at_ms: once.at_ms,
            local: once
                .local
                .map(|local| local.strftime("%Y-%m-%d %H:%M").to_string()),
        },
        Form::Interval(Interval {
            every_ms,
            anchor_ms,
        }) => Rule::Interval {
            every_ms: *every_ms,
            anchor_ms: *anchor_ms,
        },
        Form::Calendar(rule, gap) => {
            let has_day = !matches!(rule.frequency, Frequency::Daily | Frequency::Weekly);
            let has_month = rule.frequency == Frequency::Yearly;
            Rule::Recurring {
                frequency: name(Frequency::ALL, rule.frequency),
                interval: rule.interval,
                start_date: rule.start.strftime("%Y-%m-%d").to_string(),
                time: rule.time.strftime("%H:%M").to_string(),
                weekdays: rule
                    .weekdays
                    .iter()
                    .map(|day| name(WEEKDAYS, *day))
                    .collect(),
                day_of_month: has_day.then_some(rule.day_of_month),
                month: has_month.then_some(rule.month),
                gap: name(Gap::ALL, *gap),
            }
        }
        Form::Cron(cron, gap) => Rule::Cron {
            expression: cron.expression().to_owned(),
            gap: name(Gap::ALL, *gap),
        },
    }
}

fn load(rule: Rule) -> Result<Form, String> {
    Ok(match rule {
        Rule::OneOff { at_ms, local } => Form::Once(Once {
            at_ms,
            local: local.as_deref().map(local_time).transpose()?,
        }),
        Rule::Interval {
            every_ms,
            anchor_ms,
        } => {
            if every_ms < 1 {
                return Err("an interval is positive".to_owned());
            }
            Form::Interval(Interval {
                every_ms,
                anchor_ms,
            })
        }
        Rule::Cron { expression, gap } => {
            let cron = Cron::new(&expression).map_err(|error| error.to_string())?;
            Form::Cron(cron, value(Gap::ALL, &gap)?)
        }
        Rule::Recurring {
            frequency,
            interval,
            start_date,
            time,
            weekdays,
            day_of_month,
            month,
            gap,
        } => {
            let days = weekdays.iter().map(|day| value(WEEKDAYS, day));
            let rule = Calendar {
                frequency: value(Frequency::ALL, &frequency)?,
                interval,
                start: day(&start_date)?,
                time: time_of_day(&time)?,
                weekdays: days.collect::<Result<Vec<_>, _>>()?,
                day_of_month: day_of_month.unwrap_or(1),
                month: month.unwrap_or(1),
            };
            check(&rule, day_of_month.is_some(), month.is_some())?;
            Form::Calendar(rule, value(Gap::ALL, &gap)?)
        }
    })
}

/// What [`super::Intent`] promises, once more: a record may have been changed by hand.
fn check(rule: &Calendar, has_day: bool, has_month: bool) -> Result<(), String> {
    let wants_day = !matches!(rule.frequency, Frequency::Daily | Frequency::Weekly);
    let order = |day: &Weekday| day.to_monday_zero_offset();
    let is_whole = (1..=365).contains(&rule.interval)
        && (1..=31).contains(&rule.day_of_month)
        && (1..=12).contains(&rule.month)
        && has_day == wants_day
        && has_month == (rule.frequency == Frequency::Yearly)
        && rule.weekdays.is_empty() == (rule.frequency != Frequency::Weekly)
        && rule
            .weekdays
            .windows(2)
            .all(|pair| order(&pair[0]) < order(&pair[1]));
    if is_whole {
        Ok(())
    } else {
        Err("the rule contradicts itself".to_owned())
    }
}

fn day(text: &str) -> Result<Date, String> {
    date(text).ok_or_else(|| format!("{text:?} is no date"))
}

fn time_of_day(text: &str) -> Result<Time, String> {
    time(text).ok_or_else(|| format!("{text:?} is no time of day"))
}

fn local_time(text: &str) -> Result<DateTime, String> {
    let (date, time) = text.split_once(' ').ok_or("no local time")?;
    Ok(day(date)?.to_datetime(time_of_day(time)?))
}
