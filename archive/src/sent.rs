//! Rows as a restore sends them. A restore writes by these rules and every comparison expects by them, so both mean the
//! same rows: chosen ones, without what has ended, with the times that were asked for.
//!
//! Pure: the clock comes in. Deliberately absent: statements (how times reach the server) and comparing.

use ringvault_proto::v1::{self, Timestamps, Ttl};

use crate::{
    error::{Error, Result},
    row::{CellTime, DecodedRow, LineKind},
    rows::choice::RowChoice,
    table::{ColumnRole, TableLayout},
    token::token_of,
};
use ringvault_proto::token::Token;

/// Longest TTL that Cassandra takes (`Attributes.MAX_TTL`): 20 years.
const TTL_MAX_S: i64 = 20 * 365 * 24 * 60 * 60;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written, as it stands now.
    Sent,
    /// It is not among the chosen rows.
    Skipped,
    /// All its cells have ended: nothing of it is written.
    Expired,
}

/// What the rules made of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treated {
    /// What becomes of it.
    pub fate: Fate,
    /// Cells, and elements with times of their own, that have ended.
    pub cells_expired: u64,
    /// The row is no longer the line that it came from: encode it again for its hashes.
    pub changed: bool,
}

/// Makes rows of a backup what a restore sends.
#[derive(Clone, Debug)]
pub struct Sent {
    layout: TableLayout,
    choice: RowChoice,
    timestamps: Timestamps,
    ttl: Ttl,
    values_only: bool,
    backup_started_us: i64,
    restore_started_s: i64,
    partition: Partition,
}

impl Sent {
    /// By these rules, for rows of a backup of this layout. `values_only`: the backup holds no times.
    ///
    /// # Errors
    /// `Invalid` for rules that this version doesn't know, and for a partition key that is none of the table's.
    pub fn new(layout: &TableLayout, rules: &v1::RowRules, values_only: bool) -> Result<Self> {
        let unknown =
            |what: &str| Error::invalid(format!("a rule for {what} that this version doesn't know; update it"));
        let timestamps = Timestamps::try_from(rules.timestamps).map_err(|_| unknown("timestamps"))?;
        let ttl = Ttl::try_from(rules.ttl).map_err(|_| unknown("TTLs"))?;
        let ms = |unix_ms: u64| i64::try_from(unix_ms).unwrap_or(i64::MAX);
        Ok(Self {
            choice: RowChoice::new(layout, &rules.token_ranges, rules.partition_key.as_ref())?,
            layout: layout.clone(),
            timestamps: if timestamps == Timestamps::Unspecified { Timestamps::Original } else { timestamps },
            ttl: if ttl == Ttl::Unspecified { Ttl::OriginalExpiry } else { ttl },
            values_only,
            backup_started_us: ms(rules.backup_started_unix_ms).saturating_mul(1000),
            restore_started_s: ms(rules.restore_started_unix_ms) / 1000,
            partition: Partition::default(),
        })
    }

    /// The same, of these rows only.
    #[must_use]
    pub fn choosing(mut self, choice: RowChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Which rows are chosen.
    #[must_use]
    pub fn choice(&self) -> &RowChoice {
        &self.choice
    }

    /// Whether sent cells carry writetimes that a target shows again.
    #[must_use]
    pub fn keeps_writetimes(&self) -> bool {
        !self.values_only && self.timestamps != Timestamps::Now && !self.layout.counter
    }

    /// Makes a row what is sent of it. `now_s`: the database's clock.
    pub fn apply(&mut self, row: &mut DecodedRow, now_s: i64) -> Treated {
        let mut treated = Treated { fate: Fate::Sent, cells_expired: 0, changed: false };
        if !self.choice.is_all() {
            let token = self.partition.token_of(&self.layout, row);
            if !self.choice.has(&self.layout, token, row) {
                treated.fate = Fate::Skipped;
                return treated;
            }
        }
        if self.values_only || self.layout.counter {
            return treated;
        }
        let role = role_of(row.kind());
        let stand_in = StandIn::of(row, &self.layout, role, self.backup_started_us);
        let mut left = false;
        for (index, column) in self.layout.columns.iter().enumerate().filter(|(_, column)| column.role == role) {
            if row.cell(index).is_none() {
                continue;
            }
            treated.changed |= fill(row, index, stand_in);
            treated.changed |= self.set_times(row, index);
            let ended = take_ended(row, index, &column.cql_type, now_s);
            treated.cells_expired += ended;
            treated.changed |= ended > 0;
            left |= row.cell(index).is_some();
        }
        if treated.cells_expired > 0 && !left {
            treated.fate = Fate::Expired;
        }
        treated
    }

    /// Gives a cell that is sent the times that were asked for; whether that changed anything.
    fn set_times(&self, row: &mut DecodedRow, column: usize) -> bool {
        if self.timestamps == Timestamps::Original && self.ttl == Ttl::OriginalExpiry {
            return false;
        }
        let (timestamps, ttl) = (self.timestamps, self.ttl);
        let (started_s, backup_s) = (self.restore_started_s, self.backup_started_us.div_euclid(1_000_000));
        row.map_times(column, |time| {
            let expiry = match (ttl, time.expiry) {
                (_, None) | (Ttl::Drop, _) => None,
                (Ttl::Restart, Some(expiry)) => {
                    let since = |start_s: i64| expiry.saturating_sub(start_s);
                    let given = time.writetime.map(|us| since(us.div_euclid(1_000_000)));
                    // a writetime that no TTL reaches from is no clock's: what was left at the backup's start counts
                    let left = given.filter(|given| (1..=TTL_MAX_S).contains(given)).unwrap_or_else(|| since(backup_s));
                    Some(started_s.saturating_add(left.clamp(1, TTL_MAX_S)))
                }
                (Ttl::OriginalExpiry | Ttl::Unspecified, expiry) => expiry,
            };
            let writetime = time.writetime.filter(|_| timestamps != Timestamps::Now);
            CellTime { writetime, expiry }
        });
        true
    }
}

/// The role of the cells outside of the key that lines of this kind hold.
pub(crate) fn role_of(kind: LineKind) -> ColumnRole {
    match kind {
        LineKind::Row => ColumnRole::Regular,
        LineKind::Static => ColumnRole::Static,
    }
}

/// What stands in for times that nobody could read: the row's newest writetime, else the backup's start; where a cell has
/// no writetime, the row's latest expiry.
#[derive(Clone, Copy)]
struct StandIn {
    writetime: i64,
    expiry: Option<i64>,
}

impl StandIn {
    fn of(row: &DecodedRow, layout: &TableLayout, role: ColumnRole, started_us: i64) -> Self {
        let (mut newest, mut latest, mut stays) = (None, None, false);
        for (index, _) in layout.columns.iter().enumerate().filter(|(_, column)| column.role == role) {
            if row.cell(index).is_none() {
                continue;
            }
            let time = row.time(index);
            newest = newest.max(time.writetime);
            latest = latest.max(time.expiry);
            stays |= time.writetime.is_some() && time.expiry.is_none();
        }
        Self { writetime: newest.unwrap_or(started_us), expiry: latest.filter(|_| !stays) }
    }

    fn fill(self, time: CellTime) -> CellTime {
        match time.writetime {
            Some(_) => time,
            None => CellTime { writetime: Some(self.writetime), expiry: time.expiry.or(self.expiry) },
        }
    }
}

/// Fills in a writetime that is not known; whether there was any.
fn fill(row: &mut DecodedRow, column: usize, stand_in: StandIn) -> bool {
    let unknown = match row.element_times(column) {
        Some(times) => times.iter().flatten().any(|time| time.writetime.is_none()),
        None => row.time(column).writetime.is_none(),
    };
    if unknown {
        row.map_times(column, |time| stand_in.fill(time));
    }
    unknown
}

/// Takes out what has ended of a cell; gives how many cells and elements.
fn take_ended(row: &mut DecodedRow, column: usize, cql_type: &crate::cql_type::CqlType, now_s: i64) -> u64 {
    if row.element_times(column).is_some() {
        let gone = row.retain_elements(column, cql_type, |time| time.expiry.is_none_or(|expiry| expiry > now_s));
        return gone as u64;
    }
    let ended = row.time(column).expiry.is_some_and(|expiry| expiry <= now_s);
    if ended {
        row.clear_cell(column);
    }
    u64::from(ended)
}

/// The partition of the row before and its token, so that a token is computed once a partition.
#[derive(Clone, Default)]
pub(crate) struct Partition {
    key: Vec<Vec<u8>>,
    token: Option<Token>,
}

/// Without the key: it is a cell value.
impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Partition {
    /// The token of a row.
    pub(crate) fn token_of(&mut self, layout: &TableLayout, row: &DecodedRow) -> Token {
        let columns = layout.columns.iter().enumerate().filter(|(_, column)| column.role == ColumnRole::PartitionKey);
        let cells = || columns.clone().map(|(index, _)| row.cell(index).unwrap_or_default());
        match self.token {
            Some(token) if cells().eq(self.key.iter().map(Vec::as_slice)) => token,
            _ => {
                self.key = cells().map(<[u8]>::to_vec).collect();
                let token = token_of(&self.key);
                self.token = Some(token);
                token
            }
        }
    }
}

#[cfg(test)]
mod tests;
