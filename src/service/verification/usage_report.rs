//! A key's use, as it is shown.

use crate::{
    api::usage::{UsageDay, UsageDays},
    domain::usage::Day,
};
use jiff::civil::Date;
use std::collections::BTreeMap;

pub fn shown(mut days: BTreeMap<Date, Day>, pending: impl IntoIterator<Item = (Date, Day)>) -> UsageDays {
    for (date, day) in pending {
        if let Some(there) = days.get_mut(&date) {
            there.add(&day);
        }
    }
    let day = |(date, day): (Date, Day)| UsageDay { date: date.to_string(), accepted: day.accepted, refused: day.refused };
    UsageDays { days: days.into_iter().map(day).collect() }
}
