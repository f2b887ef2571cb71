//! The log: one line per event on standard error, for people or as JSON. A line carries the event's own fields and
//! those of the spans it happened in (path, session, peer), inner ones first; a name is there once.
//!
//! What peers send may stand in fields: control characters never reach the terminal.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::repeats::Repeats;
use crate::{
    base::{Clock, Error, Kind, WallTime},
    config::{LogConfig, LogFormat},
};

/// Starts the log of this process. `filter` stands in for the configured level: a level, or directives such as
/// `info,campanile::rtsp=debug`.
///
/// # Errors
/// The filter is none, or the process has a log already.
pub fn start(config: &LogConfig, filter: Option<&str>) -> Result<(), Error> {
    let filter = match filter {
        Some(filter) => parse(filter)?,
        None => parse(config.level.name())?,
    };
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = Lines { format: config.format, colour, repeats: Mutex::new(Repeats::new()) };
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map_err(|error| Error::new(Kind::Internal, "start the log").caused_by(error))
}

/// Whether a text is a filter of the log.
///
/// # Errors
/// It is none.
pub fn check_filter(filter: &str) -> Result<(), Error> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    // A bare level is ours alone: what libraries say at `debug` drowns everything else.
    let directives = match filter {
        level if level.bytes().all(|b| b.is_ascii_alphabetic()) => ours_at(&level.to_ascii_lowercase()),
        directives => directives.to_owned(),
    };
    EnvFilter::builder().parse(directives).map_err(|_| not_a_filter(filter))
}

fn not_a_filter(filter: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("CAMPANILE_LOG: `{}` is no filter", filter.escape_debug()))
        .with_hint("a level (error, warn, info, debug, trace), or such as `info,campanile::rtsp=debug`")
}

/// Our own rooms at `level`, libraries when something is wrong; `retina` warns of every packet, which we count, and
/// `rtc_dtls` and `rustls` of what is odd in a stranger's first message, such as the address that ffmpeg sends as a name.
fn ours_at(level: &str) -> String {
    let others = if level == "error" { "error" } else { "warn" };
    format!("{others},campanile={level},retina=error,rtc_dtls=error,rustls::msgs=error")
}

/// Writes events as lines.
struct Lines {
    format: LogFormat,
    colour: bool,
    /// Where a line is written in the source, and the path it is about.
    repeats: Mutex<Repeats<(Identifier, Option<String>)>>,
}

/// Names and values, in the order they came.
#[derive(Clone, Default)]
struct Fields {
    message: Option<String>,
    /// What a library that logs without spans calls itself.
    target: Option<String>,
    named: Vec<(&'static str, Value)>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match field.name() {
            "message" => self.message = Some(text(value)),
            "log.target" => self.target = Some(text(value)),
            // Where in a library's source it was said helps nobody here.
            name if name.starts_with("log.") => {}
            name => {
                let name = name.strip_prefix("r#").unwrap_or(name);
                self.named.retain(|(known, _)| *known != name);
                self.named.push((name, value));
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(next) = cause {
            let _ = write!(text, ": {next}");
            cause = next.source();
        }
        self.set(field, text.into());
    }
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = gathered(event, &context);
        let level = event.metadata().level();
        if *level <= Level::INFO {
            let path = fields.named.iter().find(|(name, _)| *name == "path").map(|(_, path)| path.to_string());
            let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
            match repeats.note((event.metadata().callsite(), path), Clock.now()) {
                Some(0) => {}
                Some(held_back) => fields.named.push(("alike_held_back", held_back.into())),
                None => return,
            }
        }
        let target = fields.target.clone().unwrap_or_else(|| event.metadata().target().to_owned());
        let line = match self.format {
            LogFormat::Human => human(Clock.wall(), level, &target, &fields, self.colour),
            LogFormat::Json => json(Clock.wall(), level, &target, fields),
        };
        // One write, so that lines of several threads do not mix. When standard error is closed nobody reads it.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The fields of an event and of the spans it happened in; the innermost wins.
fn gathered<S: Subscriber + for<'a> LookupSpan<'a>>(event: &Event<'_>, context: &Context<'_, S>) -> Fields {
    let mut fields = Fields::default();
    event.record(&mut fields);
    for span in context.event_scope(event).into_iter().flatten() {
        let extensions = span.extensions();
        let Some(above) = extensions.get::<Fields>() else { continue };
        for (name, value) in &above.named {
            if !fields.named.iter().any(|(known, _)| known == name) {
                fields.named.push((name, value.clone()));
            }
        }
    }
    fields
}

/// `2026-11-20T10:15:00.123Z  INFO camera is ready path=front-door tracks=2`
fn human(time: WallTime, level: &Level, target: &str, fields: &Fields, colour: bool) -> String {
    const DIM: Style = Style::new().dimmed();
    let (word, style) = match *level {
        Level::ERROR => ("ERROR", AnsiColor::Red.on_default().bold()),
        Level::WARN => (" WARN", AnsiColor::Yellow.on_default().bold()),
        Level::INFO => (" INFO", AnsiColor::Green.on_default()),
        Level::DEBUG => ("DEBUG", AnsiColor::Blue.on_default()),
        Level::TRACE => ("TRACE", AnsiColor::Magenta.on_default()),
    };
    let (dim, style) = if colour { (DIM, style) } else { (Style::new(), Style::new()) };
    let mut line = format!("{dim}{time}{dim:#} {style}{word}{style:#} ");
    // A library's line says whose it is; so does ours when one looks for faults.
    if *level >= Level::DEBUG || !target.starts_with("campanile") {
        let _ = write!(line, "{dim}{target}:{dim:#} ");
    }
    plain(fields.message.as_deref().unwrap_or_default(), &mut line);
    for (name, value) in &fields.named {
        let _ = write!(line, " {dim}{name}={dim:#}");
        match value {
            Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => plain(text, &mut line),
            Value::String(text) => {
                line.push('"');
                plain(&text.replace('"', "'"), &mut line);
                line.push('"');
            }
            other => line.push_str(&other.to_string()),
        }
    }
    line.push('\n');
    line
}

/// Writes a text without control characters, which could forge lines or steer a terminal.
fn plain(text: &str, line: &mut String) {
    for c in text.chars() {
        let bidirectional = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || bidirectional { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

fn json(time: WallTime, level: &Level, target: &str, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), time.to_string().into());
    object.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
    object.insert("target".to_owned(), target.into());
    object.insert("message".to_owned(), fields.message.unwrap_or_default().into());
    for (name, value) in fields.named {
        object.entry(name).or_insert(value);
    }
    format!("{}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The lines a piece of code logs.
    fn logged(format: LogFormat, code: impl FnOnce()) -> Vec<String> {
        struct Kept {
            format: LogFormat,
            lines: Arc<Mutex<Vec<String>>>,
            inner: Lines,
        }
        impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Kept {
            fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
                self.inner.on_new_span(attributes, id, context);
            }
            fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
                let (level, fields) = (event.metadata().level(), gathered(event, &context));
                let time = WallTime::from_unix_nanos(0);
                let target = fields.target.clone().unwrap_or_else(|| event.metadata().target().to_owned());
                self.lines.lock().unwrap().push(match self.format {
                    LogFormat::Human => human(time, level, &target, &fields, false),
                    LogFormat::Json => json(time, level, &target, fields),
                });
            }
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Kept {
            format,
            lines: lines.clone(),
            inner: Lines { format, colour: false, repeats: Mutex::new(Repeats::new()) },
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept), code);
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn a_line_carries_its_own_fields_and_those_of_its_spans() {
        let lines = logged(LogFormat::Human, || {
            let _path = tracing::info_span!("path", path = "front-door", state = "idle").entered();
            let _session = tracing::info_span!("session", session = 7).entered();
            tracing::warn!(state = "ready", text = "a \"b\" c", "camera is ready");
        });
        let expected =
            "1970-01-01T00:00:00.000Z  WARN camera is ready state=ready text=\"a 'b' c\" session=7 path=front-door\n";
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn what_peers_send_cannot_forge_a_line_or_steer_the_terminal() {
        let lines = logged(LogFormat::Human, || {
            tracing::info!(agent = "x\n2026 ERROR \u{1b}[31mforged\u{202e}", "request\r");
        });
        let line = lines[0].trim_end_matches('\n');
        assert!(!line.contains(['\n', '\r', '\u{1b}', '\u{202e}']), "{line:?}");
    }

    #[test]
    fn a_filter_is_a_level_or_directives() {
        for filter in ["info", "DEBUG", "info,campanile::rtsp=debug", "warn"] {
            assert!(check_filter(filter).is_ok(), "{filter}");
        }
        for filter in ["wibble", "info,campanile=loud"] {
            let error = check_filter(filter).unwrap_err();
            assert_eq!(error.chain(), format!("CAMPANILE_LOG: `{filter}` is no filter"));
        }
    }

    #[test]
    fn json_is_one_object_per_line_with_types() {
        let lines = logged(LogFormat::Json, || {
            let _path = tracing::info_span!("path", path = "a\nb").entered();
            tracing::error!(count = 3, ok = false, secret = %crate::base::Secret::new("x"), "told");
        });
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(lines[0].matches('\n').count(), 1);
        assert_eq!(value["level"], "error");
        assert_eq!(value["count"], 3);
        assert_eq!(value["ok"], false);
        assert_eq!(value["path"], "a\nb");
        assert_eq!(value["secret"], "***");
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
    }
}
