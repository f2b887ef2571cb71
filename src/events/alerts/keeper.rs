//! What outlives a restart: rules of the API, alarms, silences, and what rules remember. The driver around the store's
//! documents; what could not be written waits, newest per document, and is written with the next change.

use std::{collections::BTreeMap, sync::Arc};

use serde::de::DeserializeOwned;

use super::{Alarm, Notice, RuleConfig, RuleId, Silence};
use crate::{
    base::Result,
    events::{Cursor, rules::SavedRules},
    store::{DocumentChange, Documents},
};

const RULES: &str = "rules";
const ALARMS: &str = "alarms";
const SILENCES: &str = "silences";
/// Where notices lie that no way out took yet: written with the alarms they are about, taken away by who takes them.
pub const NOTICES: &str = "notices";
const MEMORY: &str = "rules_memory";
const PLACES: &str = "rules_places";
/// The last fact that rules heard when their memory was written.
const HEARD: &str = "heard";
/// The last fact of their own that is on the disk, and with it the alarms it tells of.
const TOLD: &str = "told";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) rules: Vec<RuleConfig>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) silences: Vec<Silence>,
    pub(super) memory: Option<SavedRules>,
    pub(super) heard: Option<Cursor>,
    pub(super) told: Option<Cursor>,
}

#[derive(Debug)]
pub(super) struct Keeper {
    documents: Documents,
    waiting: BTreeMap<(&'static str, String), Option<Pending>>,
}

/// A body, made into text only when it is written.
#[derive(Debug)]
enum Pending {
    Alarm(Arc<Alarm>),
    Text(String),
}

impl Keeper {
    pub(super) const fn new(documents: Documents) -> Self {
        Self { documents, waiting: BTreeMap::new() }
    }

    pub(super) async fn load(&self) -> Kept {
        Kept {
            rules: self.read(RULES).await,
            alarms: self.read(ALARMS).await,
            silences: self.read(SILENCES).await,
            memory: self.read(MEMORY).await.pop(),
            heard: self.place(HEARD).await,
            told: self.place(TOLD).await,
        }
    }

    async fn place(&self, key: &str) -> Option<Cursor> {
        // What cannot be read is said once, with the rest.
        self.documents.one(PLACES, key.to_owned()).await.ok()??.parse().ok()
    }

    async fn read<T: DeserializeOwned>(&self, collection: &'static str) -> Vec<T> {
        let found = self.documents.all(collection).await.unwrap_or_else(|error| {
            tracing::warn!("{collection} cannot be read from the store: {}", error.chain());
            Vec::new()
        });
        let read = |(key, body): (String, String)| match serde_json::from_str(&body) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!("{collection} {key} is left out: {error}");
                None
            }
        };
        found.into_iter().filter_map(read).collect()
    }

    pub(super) fn keep_alarm(&mut self, alarm: Arc<Alarm>) {
        self.waiting.insert((ALARMS, alarm.record.fingerprint.clone()), Some(Pending::Alarm(alarm)));
    }

    pub(super) fn forget_alarm(&mut self, fingerprint: String) {
        self.waiting.insert((ALARMS, fingerprint), None);
    }

    pub(super) fn keep_silence(&mut self, silence: &Silence) {
        let body = text(silence);
        self.waiting.insert((SILENCES, silence.id.clone()), Some(body));
    }

    pub(super) fn forget_silence(&mut self, id: String) {
        self.waiting.insert((SILENCES, id), None);
    }

    pub(super) fn keep_memory(&mut self, memory: &SavedRules) {
        self.waiting.insert((MEMORY, "all".to_owned()), Some(text(memory)));
    }

    /// Keeps how far rules have heard; written with what they remember.
    pub(super) fn keep_heard(&mut self, cursor: Cursor) {
        self.waiting.insert((PLACES, HEARD.to_owned()), Some(Pending::Text(cursor.to_string())));
    }

    /// Keeps up to where the alarms that are written are in the log; written with them.
    pub(super) fn keep_told(&mut self, cursor: Cursor) {
        self.waiting.insert((PLACES, TOLD.to_owned()), Some(Pending::Text(cursor.to_string())));
    }

    /// Keeps a notice until a way out takes it.
    pub(super) fn keep_notice(&mut self, notice: &Notice) {
        self.waiting.insert((NOTICES, notice.id.clone()), Some(text(notice)));
    }

    /// Notices that could not be written now are not written later: by then they were taken from memory.
    pub(super) fn let_go_of_notices(&mut self) {
        self.waiting.retain(|(collection, _), _| *collection != NOTICES);
    }

    /// Whether something waits to be written.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Keeps a rule of the API, or forgets it, at once: whoever asked for it is told whether it worked.
    pub(super) async fn put_rule(&self, id: &RuleId, config: Option<&RuleConfig>) -> Result<()> {
        let body = config.map(|config| serde_json::to_string(config).unwrap_or_default());
        self.documents.apply(vec![DocumentChange { collection: RULES, key: id.to_string(), body }]).await
    }

    /// Writes what waits.
    pub(super) async fn write(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let changes = self.waiting.iter().map(|((collection, key), body)| {
            let body = body.as_ref().map(|body| match body {
                Pending::Alarm(alarm) => serde_json::to_string(alarm).unwrap_or_default(),
                Pending::Text(text) => text.clone(),
            });
            DocumentChange { collection, key: key.clone(), body }
        });
        self.documents.apply(changes.collect()).await?;
        self.waiting.clear();
        Ok(())
    }
}

fn text(value: &impl serde::Serialize) -> Pending {
    Pending::Text(serde_json::to_string(value).unwrap_or_default())
}
