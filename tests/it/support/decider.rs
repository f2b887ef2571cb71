//! A server that decides about callers (`auth.http`): it writes down what it is asked and answers by it, at once or after
//! it was let.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::small_server::{SmallServer, answer};

/// What it says to a question: a status, or nothing at all.
pub type Judgement = Box<dyn Fn(&Value) -> Option<u16> + Send + Sync>;

/// The server. It ends with its test.
pub struct Decider {
    server: SmallServer,
    judgement: Arc<Mutex<Judgement>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Decider {
    pub async fn judging(judgement: impl Fn(&Value) -> Option<u16> + Send + Sync + 'static) -> Self {
        let judgement: Arc<Mutex<Judgement>> = Arc::new(Mutex::new(Box::new(judgement)));
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let (judges, noted) = (judgement.clone(), asked.clone());
        let server = SmallServer::answering(move |one| {
            let json = one.headers.get("content-type").is_some_and(|kind| kind == "application/json");
            assert!(one.line.starts_with("POST /ask ") && json, "{} {:?}", one.line, one.headers);
            let question: Value = serde_json::from_slice(&one.body).unwrap();
            let status = (judges.lock().unwrap())(&question);
            noted.lock().unwrap().push(question);
            answer(status?, "", "")
        });
        Self { server: server.await, judgement, asked }
    }

    /// The section `auth.http` that names it, with more keys.
    pub fn config(&self, more: &Value) -> Value {
        let mut config = json!({ "url": format!("http://{}/ask", self.server.address) });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    }

    /// From now on it judges so.
    pub fn judge(&self, judgement: impl Fn(&Value) -> Option<u16> + Send + Sync + 'static) {
        *self.judgement.lock().unwrap() = Box::new(judgement);
    }

    /// Everything it was asked.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// What it was asked of an action on a path.
    pub fn asked_of(&self, action: &str, path: &str) -> Vec<Value> {
        let mut asked = self.asked();
        asked.retain(|one| one["action"] == action && one["path"] == path);
        asked
    }
}
