//! `/api/v1/statistics`, as those who poll see it.

use super::super::testing::House;

#[tokio::test(start_paused = true)]
async fn statistics_are_told_once_and_then_only_when_they_changed() {
    let house = House::new();
    for url in ["/api/v1/statistics", "/api/statistics"] {
        let reply = house.get(url).await;
        assert_eq!((reply.status.as_u16(), reply.json()["viewers"].as_u64()), (200, Some(0)));
        let tag = reply.headers["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        let again = house.ask("GET", url, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
        let other = house.ask("GET", url, &[("if-none-match", "W/\"0-1\"")]).await;
        assert_eq!(other.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn a_history_that_makes_no_sense_says_why() {
    let house = House::new();
    for (query, word) in [
        ("from=yesterday", "RFC 3339"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "not before"),
        ("step=0", "3600"),
        ("steps=10", "steps"),
    ] {
        let reply = house.get(&format!("/api/v1/statistics/history?{query}")).await;
        assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (400, Some("invalid_query")), "{query}");
        assert!(reply.json()["detail"].as_str().unwrap().contains(word), "{query}: {}", reply.json());
    }
}
