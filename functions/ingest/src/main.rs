//! The ingest function on AWS Lambda.

fn main() {
    // Wired as soon as the adapters offer a store, a queue and an HTTP loop.
}
