//! Tables in Markdown, short enough for a README.

use std::fmt::Write as _;

use super::medians::{Line, RIVALRIES, is_raw, lines, median, ratio};
use super::{origin, thousands};
use crate::bench::data::BenchTable;
use crate::bench::measure::{Setting, Taken};
use crate::bench::record::{Beside, Figures, Memory, Nodes, Polite, Reader, Record, Shape, Small, Work};
use crate::bench::subjects::Subject;

/// Below that, the ends of a run weigh too much.
const WALL_S_MIN: f64 = 10.0;

/// All that was recorded, a section for each scenario that ran.
#[must_use]
pub fn markdown(records: &[Record]) -> String {
    let mut text = format!("Measured {}.\n", origin(records));
    let lines = lines(records);
    if !lines.is_empty() {
        text += &speed(&lines);
    }
    text += &section(records, small, |figures| match figures {
        Figures::Small(small) => Some(small),
        _ => None,
    });
    text += &section(records, memory, |figures| match figures {
        Figures::Memory(memory) => Some(memory),
        _ => None,
    });
    text += &section(records, polite, |figures| match figures {
        Figures::Polite(polite) => Some(polite),
        _ => None,
    });
    text += &section(records, nodes, |figures| match figures {
        Figures::Nodes(nodes) => Some(nodes),
        _ => None,
    });
    text
}

fn section<T>(records: &[Record], write: fn(&[&T]) -> String, pick: fn(&Figures) -> Option<&T>) -> String {
    let of: Vec<&T> = records.iter().filter_map(|record| pick(&record.figures)).collect();
    if of.is_empty() { String::new() } else { write(&of) }
}

fn range(values: impl Iterator<Item = usize>) -> String {
    let values: Vec<usize> = values.collect();
    match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most}"),
        (least, _) => least.copied().unwrap_or(0).to_string(),
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(first: &str, cells: &[String]) -> String {
    row(&[&[first.to_owned()], cells].concat()) + "| --- |" + &" ---: |".repeat(cells.len()) + "\n"
}

fn speed(lines: &[Line]) -> String {
    let places: Vec<(BenchTable, Setting)> = BenchTable::ALL
        .into_iter()
        .flat_map(|table| Setting::ALL.map(|setting| (table, setting)))
        .filter(|place| lines.iter().any(|line| (line.table, line.setting) == *place))
        .collect();
    let find = |subject: Subject, (table, setting): (BenchTable, Setting)| {
        lines.iter().find(|line| (line.subject, line.table, line.setting) == (subject, table, setting))
    };
    let mut text = format!(
        "\n### Rows a second\n\nMedians of {} interleaved runs; in brackets the share of what the raw driver reaches with the \
         same columns. *Apart*: server and client on a core each; *shared*: both on both. CPU, start and end, and peak \
         memory are the client process's; the greatest of the columns on the left.\n\n",
        range(lines.iter().map(|line| line.runs))
    );
    let names = places.iter().map(|(table, setting)| format!("{}, {}", table.name(), setting.name()));
    let more = ["CPU s / million rows", "CPU s / GB", "start + end s", "peak MiB"].map(ToOwned::to_owned);
    text += &head("", &names.clone().chain(more).collect::<Vec<_>>());
    for subject in Subject::ALL {
        let here: Vec<&Line> = places.iter().filter_map(|place| find(subject, *place)).collect();
        if here.is_empty() {
            continue;
        }
        let cell = |place: &(BenchTable, Setting)| match find(subject, *place) {
            None => "–".to_owned(),
            Some(line) if is_raw(subject) => thousands(line.rows_per_second),
            Some(line) => {
                let share = ratio(lines, line, subject.yardsticks());
                let share = share.map(|share| format!(" ({:.0} %)", share * 100.0));
                format!("{}{}", thousands(line.rows_per_second), share.unwrap_or_default())
            }
        };
        let most = |of: fn(&Line) -> Option<f64>, digits: usize| {
            let greatest = here.iter().filter_map(|line| of(line)).max_by(f64::total_cmp);
            greatest.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let figures = [
            most(|line| Some(line.cpu_s_per_million), 1),
            most(|line| line.cpu_s_per_gb, 1),
            most(|line| line.start_and_end_s, 1),
            most(|line| Some(line.memory_mib), 0),
        ];
        let name = std::iter::once(subject.name().to_owned());
        text += &row(&name.chain(places.iter().map(cell)).chain(figures).collect::<Vec<_>>());
    }
    text += &rivalries(lines, &places, &names.collect::<Vec<_>>());
    let short = lines.iter().filter(|line| line.wall_s_min < WALL_S_MIN).count();
    if short > 0 {
        let _ = writeln!(text, "\n{short} of {} medians hold runs of less than {WALL_S_MIN} s.", lines.len());
    }
    text
}

fn rivalries(lines: &[Line], places: &[(BenchTable, Setting)], names: &[String]) -> String {
    let mut rows = String::new();
    for (ours, theirs) in RIVALRIES {
        let cell = |(table, setting): &(BenchTable, Setting)| {
            let line = lines.iter().find(|line| (line.subject, line.table, line.setting) == (ours, *table, *setting));
            line.and_then(|line| ratio(lines, line, &[theirs]))
        };
        let cells: Vec<Option<f64>> = places.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let shown =
                cells.into_iter().map(|cell| cell.map_or_else(|| "–".to_owned(), |times| format!("{times:.2}×")));
            let name = std::iter::once(format!("{} : {}", ours.name(), theirs.name()));
            rows += &row(&name.chain(shown).collect::<Vec<_>>());
        }
    }
    if rows.is_empty() { rows } else { format!("\n{}{rows}", head("rows a second, one over the other", names)) }
}

fn small(of: &[&Small]) -> String {
    let wall = |pick: fn(&Small) -> Taken| median(of.iter().map(|small| pick(small).wall_s));
    let cpu = median(of.iter().map(|small| small.first.cpu_s));
    let stored: u64 = of.iter().map(|small| small.second_stored_bytes).sum();
    format!(
        "\n### Small tables\n\nA backup of {} tables with {} rows takes {:.1} s ({cpu:.1} s of CPU); a second one without a \
         change {:.1} s, and stores {stored} bytes of rows. Medians of {} runs.\n",
        of[0].tables,
        of[0].rows,
        wall(|small| small.first),
        wall(|small| small.second),
        of.len()
    )
}

fn memory(of: &[&Memory]) -> String {
    let mut limits: Vec<Option<&str>> = of.iter().map(|memory| memory.limit.as_deref()).collect();
    limits.sort_unstable();
    limits.dedup();
    let columns: Vec<(Work, Option<&str>)> =
        limits.iter().flat_map(|limit| [(Work::Backup, *limit), (Work::Restore, *limit)]).collect();
    let names = columns.iter().map(|(work, limit)| {
        let work = match work {
            Work::Backup => "backup",
            Work::Restore => "restore",
        };
        limit.map_or_else(|| work.to_owned(), |limit| format!("{work}, `--memory-limit {limit}`"))
    });
    let mut text =
        "\n### Peak memory\n\nMiB, the greatest of all runs; with times, restores with the proof.\n\n".to_owned();
    text += &head("", &names.collect::<Vec<_>>());
    for (shape, shape_name) in [(Shape::Many, "a partition a row"), (Shape::One, "one partition")] {
        let mut sizes: Vec<u64> = of.iter().filter(|memory| memory.shape == shape).map(|memory| memory.rows).collect();
        sizes.sort_unstable();
        sizes.dedup();
        for rows in sizes {
            let cell = |(work, limit): &(Work, Option<&str>)| {
                let is = |m: &&&Memory| (m.shape, m.rows, m.work, m.limit.as_deref()) == (shape, rows, *work, *limit);
                let greatest = of.iter().filter(is).map(|memory| memory.taken.memory_bytes).max();
                greatest.map_or_else(|| "–".to_owned(), |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)))
            };
            let name = std::iter::once(format!("{} rows, {shape_name}", thousands(rows as f64)));
            text += &row(&name.chain(columns.iter().map(cell)).collect::<Vec<_>>());
        }
    }
    text
}

fn polite(of: &[&Polite]) -> String {
    let rates: Vec<u64> = of.iter().map(|polite| polite.per_second).collect();
    let mut text = format!(
        "\n### Beside other work\n\nA steady load of {} reads and writes a second on the same node, in ms from when a request \
         was due; medians of {} runs.\n\n",
        range(rates.iter().map(|rate| usize::try_from(*rate).unwrap_or(usize::MAX))),
        of.iter().filter(|polite| polite.beside == of[0].beside && polite.setting == of[0].setting).count()
    );
    let names = ["rows/s", "reads p50", "reads p99", "writes p50", "writes p99", "failed"].map(ToOwned::to_owned);
    text += &head("", &names);
    for setting in Setting::ALL {
        for (beside, name) in [
            (Beside::Nothing, "nothing beside"),
            (Beside::Polite, "ringvault backup, `--pace polite` (the default)"),
            (Beside::Full, "ringvault backup, `--pace full`"),
            (Beside::Dsbulk, "DSBulk unload"),
        ] {
            let runs: Vec<&&Polite> = of.iter().filter(|p| (p.setting, p.beside) == (setting, beside)).collect();
            if runs.is_empty() {
                continue;
            }
            let figure = |pick: fn(&Polite) -> f64| format!("{:.1}", median(runs.iter().map(|run| pick(run))));
            let speed = median(runs.iter().filter_map(|run| run.rows_per_second));
            let speed = if speed.is_nan() { "–".to_owned() } else { thousands(speed) };
            text += &row(&[
                format!("{name}, {}", setting.name()),
                speed,
                figure(|run| run.read_p50_ms),
                figure(|run| run.read_p99_ms),
                figure(|run| run.write_p50_ms),
                figure(|run| run.write_p99_ms),
                runs.iter().map(|run| run.failed).sum::<u64>().to_string(),
            ]);
        }
    }
    text
}

fn nodes(of: &[&Nodes]) -> String {
    let mut text =
        "\n### Three nodes\n\nRows a second at consistency ONE, medians; in brackets over what coordinators \
                    at random reach.\n\n"
            .to_owned();
    let names = ["raw driver, coordinators at random", "raw driver, owners", "ringvault backup", "runs"];
    text += &head("", &names.map(ToOwned::to_owned));
    for replicas in [3, 2, 1] {
        let of: Vec<&&Nodes> = of.iter().filter(|nodes| nodes.replicas == replicas).collect();
        if of.is_empty() {
            continue;
        }
        let speeds = |reader: Reader| {
            let of = of.iter().filter(move |nodes| nodes.reader == reader);
            median(of.map(|nodes| nodes.rows as f64 / nodes.taken.wall_s))
        };
        let any = speeds(Reader::RawAny);
        let against = |reader: Reader| format!("{} ({:.2}×)", thousands(speeds(reader)), speeds(reader) / any);
        text += &row(&[
            format!("RF {replicas}"),
            thousands(any),
            against(Reader::RawOwner),
            against(Reader::Backup),
            of.iter().filter(|nodes| nodes.reader == Reader::Backup).count().to_string(),
        ]);
    }
    text
}
