//! Counters as CloudWatch reads them out of a function's log: one line of its embedded metric format for each invocation.

use pipeline::{Clock, Counter, Counters, SystemClock, environment::Environment};
use serde_json::{Map, Value, json};
use std::{future::Future, io::Write};

/// Under which metrics are found.
const NAMESPACE: &str = "Harpoon";
/// By which they are told apart.
const DIMENSION: &str = "FunctionName";

/// The counters of one function. Where no function runs nothing is counted and nothing is written.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    function: String,
    counters: Counters,
}

impl Metrics {
    /// Those of the function that this process is, by the name that Lambda gives it.
    pub fn of_process() -> Self {
        match Environment::of_process().required("AWS_LAMBDA_FUNCTION_NAME", "the function's name") {
            Ok(function) => Self { function, counters: Counters::counting() },
            Err(_) => Self::default(),
        }
    }

    /// Where the function counts.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Does the work of an invocation, then writes what it counted.
    pub async fn reporting<T>(&self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        self.report();
        done
    }

    /// Writes what was counted since the last time as one line on the standard output, if anything was.
    pub fn report(&self) {
        if let Some(line) = self.line(SystemClock.now().millis()) {
            // Metrics that can't be written are no reason to fail the work that they are about.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    fn line(&self, now_ms: i64) -> Option<Value> {
        let counted: Vec<(Counter, u64)> = self.counters.take().collect();
        if counted.is_empty() {
            return None;
        }
        let metrics: Vec<Value> = counted.iter().map(|(counter, _)| json!({ "Name": counter.as_str(), "Unit": "Count" })).collect();
        let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics });
        let mut line = Map::new();
        line.insert("_aws".to_owned(), json!({ "Timestamp": now_ms, "CloudWatchMetrics": [directive] }));
        line.insert(DIMENSION.to_owned(), Value::String(self.function.clone()));
        line.extend(counted.into_iter().map(|(counter, n)| (counter.as_str().to_owned(), n.into())));
        Some(Value::Object(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(function: &str) -> Metrics {
        Metrics { function: function.to_owned(), counters: Counters::counting() }
    }

    /// What the format's specification asks of a line, in CloudWatch's user guide under "Specification: Embedded metric format".
    fn is_as_specified(line: &Value) {
        let text = |value: &Value, max: usize| {
            let text = value.as_str().unwrap();
            assert!((1..=max).contains(&text.chars().count()), "{text}");
            text.to_owned()
        };
        let root = line.as_object().unwrap();
        let meta = root["_aws"].as_object().unwrap();
        assert!(meta["Timestamp"].as_u64().unwrap() > 0);
        for directive in meta["CloudWatchMetrics"].as_array().unwrap() {
            text(&directive["Namespace"], 1_024);
            let sets = directive["Dimensions"].as_array().unwrap();
            assert!(!sets.is_empty());
            for set in sets {
                let set = set.as_array().unwrap();
                assert!(set.len() <= 30);
                for dimension in set {
                    text(&root[&text(dimension, 250)], 1_024);
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                assert!(root[&text(&metric["Name"], 1_024)].is_number());
                assert_eq!(metric["Unit"], "Count");
            }
        }
    }

    #[test]
    fn a_line_has_the_form_that_cloudwatch_reads() {
        let metrics = of("harpoon-resolve");
        metrics.counters().add(Counter::MessagesDone, 3);
        metrics.counters().add(Counter::MessagesParked, 1);
        let line = metrics.line(1_763_800_000_000).unwrap().to_string();
        assert!(!line.contains('\n'));
        let line: Value = serde_json::from_str(&line).unwrap();
        is_as_specified(&line);
        let expected = json!({
            "_aws": {
                "Timestamp": 1_763_800_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Harpoon",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{ "Name": "MessagesDone", "Unit": "Count" }, { "Name": "MessagesParked", "Unit": "Count" }],
                }],
            },
            "FunctionName": "harpoon-resolve",
            "MessagesDone": 3,
            "MessagesParked": 1,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn every_counter_fits_one_line() {
        let metrics = of("harpoon-ingest");
        Counter::ALL.into_iter().for_each(|counter| metrics.counters().add(counter, 1));
        let line = metrics.line(1).unwrap();
        is_as_specified(&line);
        assert_eq!(line.as_object().unwrap().len(), Counter::ALL.len() + 2);
    }

    #[test]
    fn an_invocation_that_counted_nothing_writes_nothing() {
        let metrics = of("harpoon-score");
        assert_eq!(metrics.line(1), None);
        metrics.counters().add(Counter::MessagesDone, 1);
        assert!(metrics.line(2).is_some() && metrics.line(3).is_none());
    }

    #[test]
    fn nothing_is_counted_where_no_function_runs() {
        // Tests run without the variable that Lambda sets.
        let metrics = Metrics::of_process();
        metrics.counters().add(Counter::MessagesDone, 1);
        assert_eq!(metrics.line(1), None);
    }
}
