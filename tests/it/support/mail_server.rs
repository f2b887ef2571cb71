//! A mail server: SMTP with STARTTLS and AUTH PLAIN (RFC 5321, 3207, 4954), as much as a client needs. It keeps what it
//! is sent, and refuses recipients whose name begins with `nobody`.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{process::PATIENCE, tls::Identity};

/// The one login it knows.
pub const LOGIN: (&str, &str) = ("alerts", "correct-horse");

/// A mail as it came.
#[derive(Clone, Debug)]
pub struct Mail {
    pub to: Vec<String>,
    pub text: String,
    /// It came over TLS, from somebody who logged in.
    pub trusted: bool,
}

/// The server. It ends with its test.
pub struct MailServer {
    pub address: SocketAddr,
    pub identity: Identity,
    mails: Arc<Mutex<Vec<Mail>>>,
    task: tokio::task::JoinHandle<()>,
}

impl MailServer {
    /// One that offers STARTTLS, or none.
    pub async fn start(tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let identity = Identity::new();
        let certificate = CertificateDer::from_pem_file(&identity.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mails = Arc::<Mutex<Vec<Mail>>>::default();
        let kept = mails.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, acceptor) = (kept.clone(), tls.then(|| acceptor.clone()));
                tokio::spawn(async move { greet(stream, acceptor, &kept).await });
            }
        });
        Self { address, identity, mails, task }
    }

    /// What it was sent, once there is so much.
    pub async fn until(&self, count: usize) -> Vec<Mail> {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            let mails = self.mails.lock().unwrap().clone();
            if mails.len() >= count {
                return mails;
            }
            assert!(Instant::now() < deadline, "{} of {count} mails came", mails.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn greet(stream: TcpStream, acceptor: Option<TlsAcceptor>, mails: &Mutex<Vec<Mail>>) {
    let mut stream = BufReader::new(stream);
    if stream.write_all(b"220 mail.test ESMTP\r\n").await.is_err() {
        return;
    }
    if talk(&mut stream, acceptor.is_some(), false, mails).await
        && let Some(acceptor) = acceptor
        && let Ok(secured) = acceptor.accept(stream.into_inner()).await
    {
        talk(&mut BufReader::new(secured), false, true, mails).await;
    }
}

/// A conversation; whether it is to go on over TLS.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    offers_tls: bool,
    secured: bool,
    mails: &Mutex<Vec<Mail>>,
) -> bool {
    let (mut to, mut logged_in) = (Vec::new(), false);
    let mut line = String::new();
    while {
        line.clear();
        stream.read_line(&mut line).await.is_ok_and(|length| length > 0)
    } {
        let command = line.trim_end();
        let upper = command.to_ascii_uppercase();
        let reply = if upper.starts_with("EHLO") {
            match (offers_tls, secured) {
                (true, _) => "250-mail.test\r\n250 STARTTLS".to_owned(),
                (_, true) => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN".to_owned(),
                _ => "250 mail.test".to_owned(),
            }
        } else if upper == "STARTTLS" && offers_tls {
            let _ = stream.write_all(b"220 go\r\n").await;
            return true;
        } else if let Some(initial) = command.strip_prefix("AUTH PLAIN ") {
            let expected = STANDARD.encode(format!("\0{}\0{}", LOGIN.0, LOGIN.1));
            logged_in = initial == expected;
            if logged_in { "235 welcome".to_owned() } else { "535 5.7.8 wrong".to_owned() }
        } else if upper.starts_with("MAIL FROM:") {
            to.clear();
            "250 ok".to_owned()
        } else if let Some(recipient) = upper.strip_prefix("RCPT TO:") {
            if recipient.starts_with("<NOBODY") {
                "550 5.1.1 no such mailbox".to_owned()
            } else {
                to.push(recipient.to_ascii_lowercase());
                "250 ok".to_owned()
            }
        } else if upper == "DATA" {
            let _ = stream.write_all(b"354 go on\r\n").await;
            let mut text = String::new();
            while {
                line.clear();
                stream.read_line(&mut line).await.is_ok_and(|length| length > 0) && line != ".\r\n"
            } {
                text.push_str(&line);
            }
            mails.lock().unwrap().push(Mail { to: to.clone(), text, trusted: secured && logged_in });
            "250 taken".to_owned()
        } else if upper == "QUIT" {
            let _ = stream.write_all(b"221 bye\r\n").await;
            return false;
        } else {
            "500 what".to_owned()
        };
        if stream.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
            return false;
        }
    }
    false
}
