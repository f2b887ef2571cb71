//! One order, from the account to the certificate.

use std::{fs, time::Duration};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, OrderStatus,
    RetryPolicy,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::{AcmeOptions, Answers, client::Client};
use crate::{
    base::private_file,
    net::tls::{Certificate, Shown},
};

/// The account and whose it is, in the state directory.
const ACCOUNT: &str = "acme-account.json";
/// What an order may take in all, and the authority's checks within it.
const ORDER: Duration = Duration::from_secs(300);
const CHECKS: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_secs(120));

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) message: String,
    /// The authority said so: asking again soon would count as another failure.
    pub(super) of_authority: bool,
}

impl Refused {
    pub(super) fn unfit(message: impl Into<String>) -> Self {
        Self { message: message.into(), of_authority: true }
    }
}

impl From<instant_acme::Error> for Refused {
    fn from(error: instant_acme::Error) -> Self {
        let of_authority = matches!(error, instant_acme::Error::Api(_));
        Self { message: error.to_string(), of_authority }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

/// The authority, and where its questions are answered.
pub(super) struct Authority<'a> {
    pub(super) options: &'a AcmeOptions,
    pub(super) shown: &'a Shown,
    pub(super) answers: &'a Answers,
}

impl Authority<'_> {
    /// A key and a chain, PEM.
    pub(super) async fn obtain(&self) -> Result<String, Refused> {
        let late = |_| Refused { message: "the authority takes too long".into(), of_authority: false };
        tokio::time::timeout(ORDER, self.order()).await.map_err(late)?
    }

    async fn order(&self) -> Result<String, Refused> {
        let account = self.account().await?;
        let names: Vec<_> = self.options.domains.iter().map(|domain| Identifier::Dns(domain.clone())).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                // RFC 8555 §7.1.4: that of an earlier order may hold still.
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(Refused::unfit(format!("an authorization is {other:?} from the beginning"))),
            }
            let kind = if self.options.over_http { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
            let missing = || Refused::unfit("the authority does not ask in a way that is answered here");
            let mut challenge = authorization.challenge(kind).ok_or_else(missing)?;
            let answer = challenge.key_authorization();
            if self.options.over_http {
                self.answers.insert(challenge.token.clone(), answer.as_str().to_owned());
            } else {
                let name = challenge.identifier().to_string();
                let certificate = answering(&name, answer.digest().as_ref());
                let certificate =
                    certificate.ok_or_else(|| Refused::unfit("no certificate can be made for an answer"))?;
                self.shown.answer(name, certificate);
            }
            challenge.set_ready().await?;
        }
        if order.poll_ready(&CHECKS).await? != OrderStatus::Ready {
            return Err(Refused::unfit(self.why_not(&mut order).await));
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&CHECKS).await?;
        Ok(format!("{key}{chain}"))
    }

    /// What the authority found when it asked.
    async fn why_not(&self, order: &mut instant_acme::Order) -> String {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            if let Some(error) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return error.to_string();
            }
        }
        "the authority does not say why".to_owned()
    }

    /// The account that is kept, if it is one of this authority; or a new one.
    async fn account(&self) -> Result<Account, Refused> {
        let options = self.options;
        let client = || {
            let client = Client::new(options.ca_file.as_deref());
            client.map_err(|error| Refused { message: error.chain(), of_authority: false })
        };
        let kept = fs::read_to_string(options.state_dir.join(ACCOUNT)).ok();
        let kept = kept.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
        if let Some(kept) = kept.filter(|kept| kept.directory == options.directory) {
            let account = Account::builder_with_http(Box::new(client()?)).from_credentials(kept.credentials).await?;
            return Ok(account);
        }
        let contact: Vec<String> = options.email.iter().map(|email| format!("mailto:{email}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(client()?));
        let (account, credentials) = builder.create(&new, options.directory.clone(), None).await?;
        let kept = serde_json::to_string(&Kept { directory: options.directory.clone(), credentials });
        let written = kept.map(|text| private_file::write(&options.state_dir, ACCOUNT, &text));
        if let Ok(Err(error)) = written {
            tracing::warn!("acme: {}: cannot be written: {error}", options.state_dir.join(ACCOUNT).display());
        }
        Ok(account)
    }
}

/// The certificate that answers a question over TLS: RFC 8737 §3.
fn answering(name: &str, digest: &[u8]) -> Option<Certificate> {
    let key = rcgen::KeyPair::generate().ok()?;
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).ok()?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Certificate::answering(certificate.der().clone(), key)
}
