//! An issuer of tokens of one's own: keys of every kind, and a server on loopback that publishes what it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RsaEncoding,
};
use serde_json::{Value, json};

use super::token::{base64url, now, unsigned};

/// A private key, and what others may know of it.
#[derive(Debug)]
pub enum Signer {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// A token with this header and these claims.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(&header.to_string(), &claims.to_string());
        let algorithm = header["alg"].as_str().unwrap();
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", base64url(&signature))
    }

    /// A good token for a subject, with an algorithm and the id of a key.
    pub fn access(&self, algorithm: &str, key_id: &str, subject: &str) -> String {
        self.token(
            &json!({ "alg": algorithm, "typ": "JWT", "kid": key_id }),
            &claims(subject),
        )
    }

    /// The bare signature.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let hash = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let tag = hmac::sign(&hmac::Key::new(hash, secret), message);
                tag.as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut bytes).unwrap();
                bytes
            }
            Self::P256(key) | Self::P384(key) => {
                key.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key in PEM.
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Secret(_) => panic!("a secret has no public key"),
            Self::Rsa(key) => key.public_key().as_der().unwrap(),
            Self::P256(key) | Self::P384(key) => key.public_key().as_der().unwrap(),
            Self::Ed25519(key) => key.public_key().as_der().unwrap(),
        };
        // PEM wants the other alphabet, and padding.
        let text = base64url(der.as_ref()).replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        format!("-----BEGIN PUBLIC KEY-----\n{text}{padding}\n-----END PUBLIC KEY-----\n")
    }

    /// The public key as an entry of a JWKS; of a secret, what must never be there.
    pub fn jwk(&self, key_id: &str) -> Value {
        let point = |curve: &str, key: &EcdsaKeyPair| {
            let bytes = key.public_key().as_ref();
            let (x, y) = bytes[1..].split_at(bytes.len() / 2);
            json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
        };
        let mut jwk = match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": base64url(secret) }),
            Self::Rsa(key) => {
                // RSAPublicKey (RFC 8017 §A.1.1) of 2048 bits: the modulus stands behind nine bytes.
                let der = key.public_key().as_ref();
                json!({ "kty": "RSA", "n": base64url(&der[9..265]), "e": "AQAB" })
            }
            Self::P256(key) => point("P-256", key),
            Self::P384(key) => point("P-384", key),
            Self::Ed25519(key) => {
                let x = base64url(key.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        };
        jwk["kid"] = json!(key_id);
        jwk["use"] = json!("sig");
        jwk
    }
}

/// What an issuer says of a subject, for five minutes.
pub fn claims(subject: &str) -> Value {
    json!({ "sub": subject, "exp": now() + 300, "iat": now() - 5 })
}

/// A set of entries.
pub fn jwks(entries: &[Value]) -> String {
    json!({ "keys": entries }).to_string()
}

/// What is answered under a path.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with this document.
    Document(String),
    /// Another status.
    Status(u16),
    /// A redirect to this place.
    Redirect(String),
    /// Nothing, for this long.
    Silence(Duration),
    /// The connection is closed.
    Down,
}

#[derive(Debug, Default)]
struct Published {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
}

/// A server that publishes. Ends when it is dropped.
#[derive(Debug)]
pub struct Publisher {
    address: SocketAddr,
    published: Arc<Mutex<Published>>,
    stopped: Arc<AtomicBool>,
}

impl Publisher {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let publisher = Self {
            address: listener.local_addr().unwrap(),
            published: Arc::default(),
            stopped: Arc::default(),
        };
        let (published, stopped) = (
            Arc::clone(&publisher.published),
            Arc::clone(&publisher.stopped),
        );
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let published = Arc::clone(&published);
                thread::spawn(move || answer(&stream, &published));
            }
        });
        publisher
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on, this is answered under that path.
    pub fn publish(&self, path: &str, answer: Answer) {
        let mut published = self.published.lock().unwrap();
        published.answers.insert(path.to_owned(), answer);
    }

    /// A set of keys under `/keys`.
    pub fn publish_keys(&self, entries: &[Value]) {
        self.publish("/keys", Answer::Document(jwks(entries)));
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        let published = self.published.lock().unwrap();
        published
            .asked
            .iter()
            .filter(|asked| *asked == path)
            .count()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn answer(mut stream: &TcpStream, published: &Mutex<Published>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    // The head to its end, so that closing does not reset the connection.
    drop(lines.by_ref().find(String::is_empty));
    let answer = {
        let mut published = published.lock().unwrap();
        published.asked.push(path.clone());
        published.answers.get(&path).cloned()
    };
    let text = match answer.unwrap_or(Answer::Status(404)) {
        Answer::Document(document) => {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{document}",
                document.len()
            )
        }
        Answer::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
        Answer::Redirect(to) => {
            format!("HTTP/1.1 302 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
        Answer::Silence(how_long) => {
            thread::sleep(how_long);
            return;
        }
        Answer::Down => return,
    };
    // Whoever has gone away does not want it.
    let _ = stream.write_all(text.as_bytes());
}
