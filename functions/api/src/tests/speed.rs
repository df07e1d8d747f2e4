use super::given::*;
use domain::{AccountId, Home, Timestamp};
use pipeline::{Store, homes::put_record, records::{Standing, standing_key}};
use serde_json::json;
use std::time::Instant;

#[tokio::test]
async fn temporary_measure() {
    let given = given().await;
    for n in 0..100_000_u64 {
        let home = Home::Account(AccountId::new(&format!("acct_{n:06}")).unwrap());
        let h = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let standing: Standing = serde_json::from_value(json!({
            "served": 1, "inputs": 1, "fresh": 1, "seq": 1, "account_score": h % 146, "engagement": h % 211, "surge": h % 17 == 0,
            "total_leads": h % 9, "level": ["low_priority","standard","qualified","target"][(h % 4) as usize], "engagement_level": ["cold","warm","hot","very_hot"][(h/4 % 4) as usize],
            "hottest": ["warm","hot","very_hot"][(h/16 % 3) as usize], "name": format!("Company {h:x} Systems"), "domain": format!("company-{h:x}.com"),
            "owner": format!("owner{}", h % 20), "last_activity_at": Timestamp::parse(NOW).unwrap().millis() - (h as i64)
        })).unwrap();
        given.store.write(put_record(standing_key(&main(), &home), 0, &standing).unwrap()).await.unwrap();
    }
    let t = Instant::now();
    given.get("/api/v1/accounts?limit=1").await.ok();
    println!("load {:?}", t.elapsed());
    for q in ["", "?sort=name", "?sort=activity&order=asc", "?search=zzz", "?search=abc&sort=name", "?level=target&owner=owner3", "?surging=true&sort=engagement", "?limit=200&sort=account_score"] {
        given.clock.advance(1000);
        let t = Instant::now();
        let page = given.get(&format!("/api/v1/accounts{q}")).await.ok();
        let first = t.elapsed();
        let t = Instant::now();
        if let Some(c) = page["next_cursor"].as_str() { given.get(&format!("/api/v1/accounts{}{}cursor={c}", q, if q.is_empty() {"?"} else {"&"})).await.ok(); }
        println!("{q:40} {first:?} next {:?}", t.elapsed());
    }
}
