//! Builds the web pages and writes the table that embeds them.
//!
//! With npm at hand `web/` is built into `OUT_DIR`; without it, or when it fails, the hand-written page of
//! `web/fallback/` is embedded and one warning says so. A build never fails for want of npm unless asked to:
//! `CAMPANILE_WEB=auto` (default), `skip` (never run npm), `require` (fail without the full pages).
//! The result is `OUT_DIR/web_assets.rs`, which `src/http/assets.rs` includes.

use std::{
    env, error,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

/// What the pages are made of. Never `web/` itself: `node_modules` would run the build for ever.
const INPUTS: [&str; 9] = [
    "web/client",
    "web/public",
    "web/src",
    "web/fallback",
    "web/index.html",
    "web/package.json",
    "web/package-lock.json",
    "web/tsconfig.json",
    "web/vite.config.ts",
];

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=CAMPANILE_WEB");
    println!("cargo:rerun-if-changed=build.rs");
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let web = root.join("web");
    let mode = env::var("CAMPANILE_WEB").unwrap_or_default();
    let pages = match mode.as_str() {
        "skip" => web.join("fallback"),
        "require" => build_pages(&web, &out)?,
        "" | "auto" => build_pages(&web, &out).unwrap_or_else(|error| {
            println!(
                "cargo:warning=the small fallback page was embedded instead of the full web pages: {error}; install \
                 Node.js 20.19 or newer, then `touch build.rs` and build again"
            );
            web.join("fallback")
        }),
        other => return Err(format!("CAMPANILE_WEB is `auto`, `skip` or `require`, not `{other}`").into()),
    };
    fs::write(out.join("web_assets.rs"), table(&pages)?)?;
    Ok(())
}

/// Runs npm; returns the folder with the finished pages.
fn build_pages(web: &Path, out: &Path) -> Result<PathBuf> {
    let lock_path = web.join("package-lock.json");
    // Builds of several profiles may run at once over one `node_modules`.
    let lock = File::open(&lock_path)?;
    lock.lock()?;
    if is_stale(&web.join("node_modules/.package-lock.json"), &lock_path) {
        let quick = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--loglevel=error"];
        npm(web, &[&["ci", "--prefer-offline", "--no-audit", "--no-fund"], &quick[..]].concat())?;
    }
    let pages = out.join("web");
    let folder = pages.to_str().ok_or("OUT_DIR is not UTF-8")?;
    npm(web, &["run", "--silent", "build", "--", "--logLevel", "error", "--emptyOutDir", "--outDir", folder])?;
    Ok(pages)
}

fn is_stale(made: &Path, from: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    !matches!((modified(made), modified(from)), (Ok(made), Ok(from)) if made >= from)
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<()> {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|error| format!("npm cannot be run ({error})"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    let complaint = text.lines().map(str::trim).find(|line| line.to_lowercase().contains("error"));
    let complaint = complaint.or_else(|| text.lines().next()).unwrap_or("it said nothing");
    Err(format!("`npm {}` failed: {complaint}", arguments[0]).into())
}

/// The Rust source of the table: every file of `folder` with its ready-made compressed forms.
fn table(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, folder, &mut files)?;
    files.sort();
    let mut source = String::from("/// Every embedded file, sorted by path.\npub static ASSETS: &[Asset] = &[\n");
    for name in &files {
        let path = folder.join(name);
        let variant = |extension: &str| {
            let path = folder.join(format!("{name}.{extension}"));
            if path.exists() { format!("Some(include_bytes!({path:?}))") } else { "None".to_owned() }
        };
        writeln!(source, "    Asset {{")?;
        writeln!(source, "        path: {name:?},")?;
        writeln!(source, "        content_type: {:?},", content_type(name))?;
        writeln!(source, "        etag: \"W/\\\"{:016x}\\\"\",", fnv1a(&fs::read(&path)?))?;
        writeln!(source, "        immutable: {},", is_fingerprinted(name))?;
        writeln!(source, "        raw: include_bytes!({path:?}),")?;
        writeln!(source, "        gzip: {},", variant("gz"))?;
        writeln!(source, "        brotli: {},", variant("br"))?;
        writeln!(source, "    }},")?;
    }
    source.push_str("];\n");
    Ok(source)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_str().ok_or("a file name is not UTF-8")?.replace('\\', "/");
        if ![".gz", ".br", ".map"].iter().any(|extension| name.ends_with(extension)) {
            files.push(name);
        }
    }
    Ok(())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Whether the name carries a hash of the content, so that it may be cached for ever: `assets/index-B4s3cAfe.js`.
fn is_fingerprinted(name: &str) -> bool {
    let stem = name.strip_prefix("assets/").and_then(|file| file.rsplit_once('.')).map_or("", |(stem, _)| stem);
    let bytes = stem.as_bytes();
    bytes.len() > 9 && bytes[bytes.len() - 9] == b'-' && bytes[bytes.len() - 8..].iter().any(u8::is_ascii_uppercase)
}

/// FNV-1a, 64 bits: enough to tell two versions of one file apart.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
