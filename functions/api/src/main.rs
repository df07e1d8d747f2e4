//! The API function on AWS Lambda.

fn main() {
    // Wired as soon as the adapters offer a key service for destination secrets.
}
