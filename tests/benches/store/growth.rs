//! How units and time of an event grow: with accounts, with an account's leads, with a person's history, and with one that is hot.

use super::{
    columns, command,
    rig::{Rig, Spent, figure, start},
};
use domain::DAY_MS;
use futures::future::join_all;
use harpoon::cost::{
    counted::Pace,
    load::{Load, Size, Who},
    prices::PriceFile,
    virtual_time::VirtualTime,
};
use harpoon_tests::bench::{Dice, Report, argument, text_argument};
use pipeline::{EventsReceived, Outcome, Received, Stage, Table, messages};

const EACH: [&str; 6] = ["requests", "read units", "write units", "resolve, µs", "score, µs", "level, µs"];

fn load(leads: usize) -> Load {
    Load::new(Size { seed: 9, accounts: 1, leads_per_account: leads, event_bytes: 640 })
}

fn header(first: &[&str], each: &[&str]) -> Vec<String> {
    first.iter().chain(each).map(|name| (*name).to_owned()).collect()
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn run() -> anyhow::Result<()> {
    let full = text_argument("size").as_deref() == Some("full");
    let only: String = argument("only", "accounts,leads,history,hot".to_owned());
    if only.contains("accounts") {
        accounts(if full { &[100, 1_000, 10_000, 100_000] } else { &[100, 1_000, 10_000] }, full)?;
    }
    if only.contains("leads") {
        leads(if full { &[1, 10, 100, 200, 1_000, 10_000] } else { &[1, 10, 100, 200, 1_000] }, full)?;
    }
    if only.contains("history") {
        history(if full { &[1, 7, 30, 182, 395] } else { &[1, 7, 30, 182] }, full)?;
    }
    if only.contains("hot") {
        hot(full)?;
    }
    Ok(())
}

fn again(only: &str, full: bool) -> String {
    command(&format!("growth --only {only}{}", if full { " --size full" } else { "" }))
}

// ---- Accounts --------------------------------------------------------------------------------------------------------

fn accounts(sizes: &[usize], full: bool) -> anyhow::Result<()> {
    const TOUCHED: usize = 100;
    const TOUCHES: usize = 8;
    const BATCH: usize = 10;
    let mut rig = Rig::new(start()?, &Pace::Real)?;
    let mut load = load(1);
    let mut rows = Vec::new();
    let mut have = 0;
    for size in sizes {
        for account in have..*size {
            rig.introduce(&mut load, Who { account, lead: 0 }, 10, 8)?;
            if account % 200 == 199 {
                rig.settle()?;
            }
        }
        rig.settle()?;
        // People who were not measured at a smaller size, spread over those who came since.
        let step = (size - have) / TOUCHED;
        let people: Vec<Who> =
            (0..TOUCHED).map(|n| Who { account: have + n * step.max(1), lead: 0 }).filter(|who| who.account < *size).collect();
        for turn in 0..TOUCHES {
            if turn == 2 {
                rig.spent();
            }
            rig.clock.advance(20_000);
            for who in &people {
                let calls = load.visit(*who, BATCH, rig.now());
                rig.ingest(load.body(&calls))?;
            }
            rig.settle()?;
        }
        let spent = rig.spent().per(people.len() * (TOUCHES - 2) * BATCH);
        let mut row = vec![thousands(*size)];
        row.extend(cells(&spent));
        rows.push(row);
        have = *size;
    }
    let report = Report {
        title: "Growth with the number of accounts".into(),
        data: "accounts of one lead with 10 past events; 100 of them get 6 batches of 10 events of one person; figures per event; time on a core without the store".into(),
        command: again("accounts", full),
        columns: header(&["accounts"], &EACH),
        rows,
        notes: Vec::new(),
    };
    println!("{report}");
    Ok(())
}

/// With more digits, as an event takes little of each.
fn cells(spent: &Spent) -> Vec<String> {
    let micros = spent.cpu.map(|cpu| format!("{:.1}", cpu.as_secs_f64() * 1e6));
    [format!("{:.3}", spent.requests), format!("{:.3}", spent.read_units), format!("{:.3}", spent.write_units)]
        .into_iter()
        .chain(micros)
        .collect()
}

// ---- Leads -----------------------------------------------------------------------------------------------------------

fn leads(sizes: &[usize], full: bool) -> anyhow::Result<()> {
    const TOUCHES: usize = 40;
    let (mut rows, mut whole) = (Vec::new(), Vec::new());
    for size in sizes {
        let mut rig = Rig::new(start()?, &Pace::Real)?;
        let mut load = load(*size);
        for lead in 0..*size {
            rig.introduce(&mut load, Who { account: 0, lead }, 20, 10)?;
            if lead % 100 == 99 {
                let bodies = rig.to_resolve.take_bodies();
                rig.resolve(&bodies)?;
            }
        }
        rig.settle()?;
        let mut dice = Dice(1);
        for turn in 0..TOUCHES + 2 {
            // The first two make the sums of a giant and fill what is remembered.
            if turn == 2 {
                rig.spent();
            }
            rig.clock.advance(500);
            let who = Who { account: 0, lead: usize::try_from(dice.below(*size as u64))? };
            let calls = load.visit(who, 1, rig.now());
            rig.ingest(load.body(&calls))?;
            rig.settle()?;
        }
        let mut row = vec![thousands(*size)];
        row.extend(rig.spent().per(TOUCHES).cells());
        rows.push(row);

        rig.clock.set(rig.now().day().plus(1).start().plus_millis(60_000));
        rig.rescore()?;
        rig.spent();
        rig.follow()?;
        let spent = rig.spent();
        let mut row = vec![thousands(*size)];
        row.extend(spent.cells());
        row.push(format!("{:.2}", spent.micros() / *size as f64));
        whole.push(row);
    }
    let report = Report {
        title: "Growth with an account's leads: one event of one lead".into(),
        data: "one account; every lead has 20 events on 10 days; then one event of one lead at a time, scored and levelled each time; figures per event".into(),
        command: again("leads", full),
        columns: header(&["leads"], &EACH),
        rows,
        notes: Vec::new(),
    };
    println!("{report}");
    let mut names = header(&["leads"], &EACH);
    names.push("all, µs a lead".into());
    let report = Report {
        title: "Growth with an account's leads: the first score of a new day".into(),
        data: "the same accounts, once, at the midnight after".into(),
        command: again("leads", full),
        columns: names,
        rows: whole,
        notes: Vec::new(),
    };
    println!("{report}");
    Ok(())
}

// ---- History ---------------------------------------------------------------------------------------------------------

/// How many bytes the only state has.
fn state_bytes(rig: &Rig) -> usize {
    rig.store
        .dump()
        .iter()
        .filter(|item| item.key.table == Table::Accounts && item.key.sk.starts_with("S#"))
        .map(|item| item.body.len())
        .sum()
}

fn history(sizes: &[usize], full: bool) -> anyhow::Result<()> {
    const EVENTS: usize = 10;
    const TURNS: usize = 30;
    const FURTHER: usize = 20;
    let who = Who { account: 0, lead: 0 };
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for days in sizes {
        let end = start()?.day().start().plus_millis(12 * 3_600_000);
        let began = end.plus_millis(-i64::try_from(*days)? * DAY_MS);
        let mut rig = Rig::new(began, &Pace::Real)?;
        let mut load = load(1);
        rig.introduce(&mut load, who, 0, 1)?;
        rig.settle()?;
        // By days ago: what was posted, and the messages that came of it.
        let mut posted: Vec<(String, Vec<String>)> = Vec::new();
        for day in 0..*days {
            rig.clock.set(began.plus_millis(i64::try_from(day)? * DAY_MS + 3_600_000));
            let calls = load.visit(who, EVENTS, rig.now());
            let body = load.body(&calls);
            rig.ingest(body.clone())?;
            let bodies = rig.to_resolve.take_bodies();
            rig.resolve(&bodies)?;
            rig.follow()?;
            posted.insert(0, (body, bodies));
            posted.truncate(31);
        }
        rig.clock.set(end);
        for turn in 0..=TURNS {
            // The first brings back what is remembered for half a minute.
            if turn == 1 {
                rig.spent();
            }
            rig.clock.advance(400);
            let calls = load.visit(who, FURTHER, rig.now());
            rig.ingest(load.body(&calls))?;
            rig.settle()?;
        }
        let spent = rig.spent().per(TURNS);
        let mut row = vec![format!("{days} days"), thousands(state_bytes(&rig))];
        row.extend(spent.cells());
        rows.push(row);

        let mut probe = |rig: &mut Rig, what: &str, act: &mut dyn FnMut(&mut Rig) -> anyhow::Result<()>| -> anyhow::Result<()> {
            for turn in ["first", "again"] {
                rig.clock.advance(400);
                act(rig)?;
                rig.follow()?;
                let mut row = vec![format!("{days} days"), what.to_owned(), turn.to_owned()];
                row.extend(rig.spent().cells());
                late.push(row);
            }
            Ok(())
        };
        // The same message once more; 20 days: from a dead queue that somebody emptied late.
        for (ago, name) in [(0, "23 hours"), (6, "7 days"), (12, "13 days"), (19, "20 days")] {
            if let Some((_, bodies)) = posted.get(ago).filter(|_| *days > ago) {
                let bodies = bodies.clone();
                probe(&mut rig, &format!("message redelivered after {name}"), &mut |rig| rig.resolve(&bodies))?;
            }
        }
        let again: &mut dyn FnMut(&mut Rig, &str) -> anyhow::Result<()> = &mut |rig, body| {
            rig.ingest(body.to_owned())?;
            let bodies = rig.to_resolve.take_bodies();
            rig.resolve(&bodies)
        };
        for (ago, name) in [(0, "23 hours"), (6, "7 days"), (12, "13 days")] {
            if let Some((body, _)) = posted.get(ago).filter(|_| *days > ago) {
                let body = body.clone();
                probe(&mut rig, &format!("client's retry after {name}"), &mut |rig| again(rig, &body))?;
            }
        }
        probe(&mut rig, "20 new events dated two days ago", &mut |rig| {
            let calls = load.visit(who, FURTHER, rig.now().plus_millis(-2 * DAY_MS));
            let body = load.body(&calls);
            rig.ingest(body)?;
            let bodies = rig.to_resolve.take_bodies();
            rig.resolve(&bodies)
        })?;
    }
    let report = Report {
        title: "Growth with a person's history: 20 further events".into(),
        data: "one person with one batch of 10 events a day; then 30 batches of 20 events, one after the other; figures per batch of 20"
            .into(),
        command: again("history", full),
        columns: header(&["history", "bytes of the state"], &EACH),
        rows,
        notes: Vec::new(),
    };
    println!("{report}");
    let report = Report {
        title: "Growth with a person's history: what comes late or again".into(),
        data: "the same person; each case once, and then once more; figures per message of 10 events (20 where it says so)".into(),
        command: again("history", full),
        columns: header(&["history", "what", "turn"], &EACH),
        rows: late,
        notes: Vec::new(),
    };
    println!("{report}");
    Ok(())
}

// ---- Hot -------------------------------------------------------------------------------------------------------------

/// Decoded messages of a request each.
fn messages_of(rig: &Rig, load: &mut Load, people: &[Who], events: usize) -> anyhow::Result<Vec<EventsReceived>> {
    for who in people {
        let calls = load.visit(*who, events, rig.now());
        rig.ingest(load.body(&calls))?;
    }
    Ok(rig.to_resolve.take_bodies().iter().map(|body| messages::decode(body)).collect::<Result<_, _>>()?)
}

fn hot(full: bool) -> anyhow::Result<()> {
    const OTHERS: usize = 9;
    const WINDOWS: usize = 5;
    let days: usize = if full { 365 } else { 60 };
    let hot = Who { account: 0, lead: 0 };
    let mut rows = Vec::new();
    // How many invocations run at once, and how many of the hot person's messages each of them holds.
    let cases: [(usize, usize, &str); 9] = [
        (1, 0, "nobody"),
        (1, 1, "1 message"),
        (1, 10, "10 messages"),
        (1, 40, "40 messages"),
        (10, 0, "nobody"),
        (10, 1, "1 message in each"),
        (10, 10, "10 messages in each"),
        (20, 0, "nobody"),
        (20, 1, "1 message in each"),
    ];
    let latencies = PriceFile::read(None)?.latency;
    for long in [false, true] {
        let time = VirtualTime::default();
        let mut rig = Rig::new(start()?.plus_millis(-i64::try_from(days)? * DAY_MS), &Pace::Stated(time.clone(), latencies))?;
        let mut load = load(1);
        rig.introduce(&mut load, hot, 0, 1)?;
        rig.settle()?;
        if long {
            for _ in 0..days {
                for _ in 0..3 {
                    rig.clock.advance(DAY_MS / 3);
                    let calls = load.visit(hot, 20, rig.now());
                    rig.ingest(load.body(&calls))?;
                    rig.settle()?;
                }
            }
        }
        rig.clock.set(start()?);
        for account in 1..=20 * OTHERS {
            rig.introduce(&mut load, Who { account, lead: 0 }, 10, 8)?;
        }
        rig.settle()?;
        rig.settle()?;
        for (workers, each, name) in cases {
            let (mut of_all, mut slowest, mut failed_messages, mut hot_messages) = (0_u64, 0_u64, 0_usize, 0_usize);
            for window in 0..=WINDOWS {
                if window == 1 {
                    // The first brings back what is remembered for half a minute.
                    rig.spent();
                    (of_all, slowest, failed_messages, hot_messages) = (0, 0, 0, 0);
                }
                rig.clock.advance(2_000);
                let others: Vec<Who> = (1..=workers * OTHERS).map(|account| Who { account, lead: 0 }).collect();
                let others = messages_of(&rig, &mut load, &others, 10)?;
                let mut hots = messages_of(&rig, &mut load, &vec![hot; workers * each], 10)?.into_iter();
                hot_messages += workers * each;
                let batches: Vec<Vec<Received<EventsReceived>>> = others
                    .chunks(OTHERS)
                    .map(|others| others.iter().cloned().chain(hots.by_ref().take(each)).map(Received::first).collect())
                    .collect();
                let began = time.micros();
                let (resolver, time) = (&rig.resolver, &time);
                let invocations = batches.into_iter().map(|batch| async move {
                    let outcomes = resolver.handle(batch).await;
                    let failed = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Done)).count();
                    (time.micros() - began, failed)
                });
                for (took, failed) in rig.run(join_all(invocations))? {
                    of_all += took;
                    slowest = slowest.max(took);
                    failed_messages += failed;
                }
                rig.follow()?;
            }
            let spent = rig.spent();
            rows.push(vec![
                if long { format!("{days} days, 60 events a day") } else { "none".into() },
                workers.to_string(),
                name.to_owned(),
                format!("{:.0}", of_all as f64 / 1e3 / (WINDOWS * workers) as f64),
                format!("{:.0}", slowest as f64 / 1e3),
                if hot_messages == 0 { "–".into() } else { figure(spent.failed / hot_messages as f64) },
                figure(spent.write_units / (WINDOWS * workers) as f64),
                format!("{failed_messages} of {hot_messages}"),
            ]);
        }
    }
    let report = Report {
        title: "One hot person among others".into(),
        data: format!(
            "invocations of resolve with {OTHERS} messages of other people of 10 events each, and some of one hot person; store and queue take the latencies stated in `infra/prices.toml`, in virtual time; processor time is not in these milliseconds; {WINDOWS} windows"
        ),
        command: again("hot", full),
        columns: columns([
            "the hot person's history",
            "invocations at once",
            "the hot person sends",
            "an invocation, ms",
            "the slowest, ms",
            "failed writes a hot message",
            "write units an invocation, score and level included",
            "hot messages that come again",
        ]),
        rows,
        notes: Vec::new(),
    };
    println!("{report}");
    Ok(())
}
