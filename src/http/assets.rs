//! The web pages inside the binary: a value type and the look-up, no HTTP.
//!
//! Owns which file a URL means, which of its ready-made encodings a client gets, and the entry page seen from any
//! depth: its links are relative, so the server may stand behind a proxy under any prefix. Does not know the router;
//! statuses and headers are made there. The table is written by `build.rs`.

use std::borrow::Cow;

/// One embedded file.
#[derive(Debug)]
pub struct Asset {
    /// Relative to the root of the pages, without a leading slash: `assets/index-B4s3cAfe.js`.
    pub path: &'static str,
    /// The media type.
    pub content_type: &'static str,
    /// A weak entity tag (one for all encodings), as the header wants it.
    pub etag: &'static str,
    /// The name carries a hash of the content: it may be cached for ever.
    pub immutable: bool,
    /// The file as it is.
    pub raw: &'static [u8],
    /// The same, gzip.
    pub gzip: Option<&'static [u8]>,
    /// The same, brotli.
    pub brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/web_assets.rs"));

/// The `Cache-Control` of a file that may be kept for ever.
pub const CACHE_IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The `Cache-Control` of every other file: ask again, the entity tag makes it cheap.
pub const CACHE_REVALIDATE: &str = "no-cache";

/// How a body is encoded on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// `Content-Encoding: gzip`.
    Gzip,
    /// `Content-Encoding: br`.
    Brotli,
}

impl Encoding {
    /// The value of `Content-Encoding`; `None` when the header is left out.
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

impl Asset {
    /// The smallest form a client with this `Accept-Encoding` takes. The answer varies on that header.
    pub fn negotiate(&self, accept_encoding: &str) -> (Encoding, &'static [u8]) {
        let forms = [(Encoding::Brotli, "br", self.brotli), (Encoding::Gzip, "gzip", self.gzip)];
        let pick = forms.into_iter().find_map(|(encoding, name, body)| {
            body.filter(|_| accepts(accept_encoding, name)).map(|body| (encoding, body))
        });
        pick.unwrap_or((Encoding::Identity, self.raw))
    }

    /// The `Cache-Control` to send.
    pub const fn cache_control(&self) -> &'static str {
        if self.immutable { CACHE_IMMUTABLE } else { CACHE_REVALIDATE }
    }
}

/// The file at this path below the root of the pages: `assets/…`. The entry page is not among them, see [`page`].
pub fn find(path: &str) -> Option<&'static Asset> {
    let index = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    Some(&ASSETS[index]).filter(|asset| asset.path != ENTRY)
}

/// The entry page for a URL path as the client sees it below this server's root (`/`, `/front-door/`, `/site/gate/`):
/// its links climb as many folders as the URL is deep. Serves [`CACHE_REVALIDATE`], `text/html; charset=utf-8`.
pub fn page(url_path: &str) -> Page {
    let entry = ASSETS.iter().find(|asset| asset.path == ENTRY);
    let (html, etag) = entry.map_or((&[][..], "W/\"\""), |asset| (asset.raw, asset.etag));
    let html = str::from_utf8(html).unwrap_or_default();
    let depth = url_path.matches('/').count().saturating_sub(1);
    if depth == 0 {
        return Page { body: Cow::Borrowed(html), etag: etag.to_owned() };
    }
    let up = format!("\"{}assets/", "../".repeat(depth));
    let etag = format!("{}-{depth}\"", etag.trim_end_matches('"'));
    Page { body: Cow::Owned(html.replace("\"./assets/", &up)), etag }
}

/// The entry page as one URL gets it.
#[derive(Debug)]
pub struct Page {
    /// HTML.
    pub body: Cow<'static, str>,
    /// A weak entity tag, as the header wants it.
    pub etag: String,
}

/// RFC 9110 §12.5.3: a coding is acceptable when it is listed, or `*` is, and its weight is not zero.
pub(super) fn accepts(header: &str, coding: &str) -> bool {
    let weight = |wanted: &str| {
        header.split(',').find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(q.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0)))
        })
    };
    weight(coding).or_else(|| weight("*")).unwrap_or(false)
}

const ENTRY: &str = "index.html";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_the_entry_page() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.path));
        assert!(ASSETS.iter().any(|asset| asset.path == ENTRY));
        assert!(page("/").body.contains("\"./assets/"), "links are relative");
        assert!(find(ENTRY).is_none(), "the entry page has one way out, `page`");
    }

    #[test]
    fn every_link_of_the_entry_page_leads_to_a_file_of_its_type() {
        let page = page("/");
        let links: Vec<&str> =
            page.body.split("\"./assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(links.len() >= 2, "{links:?}");
        for link in links.into_iter().map(|name| format!("assets/{name}")) {
            let asset = find(&link).unwrap_or_else(|| panic!("{link} is not embedded"));
            assert_ne!(asset.content_type, "application/octet-stream", "{link}");
        }
    }

    #[test]
    fn links_climb_as_deep_as_the_url() {
        let table = [("/", "\"./assets/"), ("/demo/", "\"../assets/"), ("/site/gate/", "\"../../assets/")];
        let mut etags: Vec<String> = Vec::new();
        for (url, link) in table {
            let page = page(url);
            assert!(page.body.contains(link), "{url}");
            assert!(page.etag.starts_with("W/\"") && page.etag.ends_with('"') && page.etag.len() > 4, "{}", page.etag);
            assert!(!etags.contains(&page.etag), "another body needs another tag");
            etags.push(page.etag);
        }
    }

    #[test]
    fn nothing_inline_breaks_the_content_security_policy() {
        let html = page("/").body;
        assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick="));
        assert!(html.split("<script").skip(1).all(|script| script.split('>').next().unwrap().contains(" src=")));
    }

    #[test]
    fn names_outside_the_table_find_nothing() {
        for path in ["", "/", "assets", "assets/", "assets/../index.html", "Cargo.toml", "assets/nothing.js"] {
            assert!(find(path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn the_smallest_acceptable_form_wins() {
        let asset = Asset {
            path: "assets/a.js",
            content_type: "text/javascript",
            etag: "W/\"1\"",
            immutable: true,
            raw: b"raw",
            gzip: Some(b"gz"),
            brotli: Some(b"br"),
        };
        let table = [
            ("", Encoding::Identity),
            ("gzip, deflate, br, zstd", Encoding::Brotli),
            ("gzip", Encoding::Gzip),
            ("br;q=0, gzip;q=0.5", Encoding::Gzip),
            ("*", Encoding::Brotli),
            ("*;q=0", Encoding::Identity),
            ("GZIP;Q=0.1", Encoding::Gzip),
            ("identity", Encoding::Identity),
            ("gzip;q=nonsense", Encoding::Identity),
        ];
        for (header, encoding) in table {
            assert_eq!(asset.negotiate(header).0, encoding, "{header:?}");
        }
        assert_eq!(
            Asset { brotli: None, gzip: None, ..asset }.negotiate("br, gzip"),
            (Encoding::Identity, &b"raw"[..])
        );
    }
}
