//! Clients that upload and remove as fast as they can, and a log of what they were answered that the server has no
//! part in.

use std::sync::{Arc, Mutex};
use std::thread;
use std::thread::JoinHandle;

use serde_json::Value;

use crate::support::jpeg::Pixels;
use crate::support::{Form, PICTURE, Request, Server, User, fixture};

/// What is uploaded, in turn.
pub(super) const FILES: [&str; 3] = ["rgb.png", "orientation-6.jpg", "alpha.png"];

/// A picture as answers name it: id and time of upload.
type Picture = Option<(String, String)>;

/// What one user's client knows.
#[derive(Debug, Default)]
struct Seen {
    /// What the last answer said.
    last: Picture,
    /// What was asked for since then and not answered with 200. A server that says that it failed and then loses its
    /// power cannot take back what the disk has kept.
    asked: Vec<Asked>,
    /// Ids that a later answer has replaced.
    replaced: Vec<String>,
    answers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Upload,
    Removal,
}

/// Users, each with a client of their own.
pub(super) struct Load {
    users: Vec<User>,
    log: Vec<Arc<Mutex<Seen>>>,
}

/// Clients at work. They end when the server does.
pub(super) struct Running(Vec<JoinHandle<()>>);

impl Load {
    pub(super) fn new(server: &Server, users: usize) -> Self {
        Self {
            users: (0..users).map(|_| server.user()).collect(),
            log: (0..users).map(|_| Arc::default()).collect(),
        }
    }

    /// Uploads and removals that were answered with 200.
    pub(super) fn answers(&self) -> u64 {
        let answers = self.log.iter().map(|seen| seen.lock().unwrap().answers);
        answers.sum()
    }

    pub(super) fn start(&self, server: &Server) -> Running {
        let clients = self.users.iter().zip(&self.log).zip(0..);
        let clients = clients.map(|((user, seen), first)| {
            let (token, seen) = (user.access.clone(), Arc::clone(seen));
            let address = server.address();
            let uploads = FILES.map(|file| {
                let form = Form::image(&fixture(file));
                Request::post(PICTURE).bearer(&token).form(&form)
            });
            let removal = Request::new("DELETE", PICTURE).bearer(&token);
            thread::spawn(move || {
                for number in first.. {
                    let asked = if number % 7 == 6 {
                        Asked::Removal
                    } else {
                        Asked::Upload
                    };
                    seen.lock().unwrap().asked.push(asked);
                    let request = match asked {
                        Asked::Upload => &uploads[number % uploads.len()],
                        Asked::Removal => &removal,
                    };
                    match request.try_send_to_a_failing_server(address) {
                        Ok(reply) if reply.status == 200 => {
                            seen.lock().unwrap().answered(&reply.json());
                        }
                        // A disk that is gone: the server says so.
                        Ok(reply) => assert!(reply.status >= 500, "{}", reply.text()),
                        Err(_) => break,
                    }
                }
            })
        });
        Running(clients.collect())
    }

    /// Compares a server that was started again with the log.
    pub(super) fn check(&self, server: &Server) {
        for (user, seen) in self.users.iter().zip(&self.log) {
            let mut seen = seen.lock().unwrap();
            let profile = server.profile(user);
            let live = picture(&profile);
            let asked = std::mem::take(&mut seen.asked);
            let expected = match (&live, &seen.last) {
                (live, last) if live == last => true,
                (None, _) => asked.contains(&Asked::Removal),
                (Some(_), None) => asked.contains(&Asked::Upload),
                (Some((_, now)), Some((_, before))) => {
                    asked.contains(&Asked::Upload) && now > before
                }
            };
            assert!(expected, "answered: {:?}, there is: {live:?}", seen.last);
            if live.is_some() {
                let (large, small) = server.pictures(&profile);
                assert_eq!(Pixels::decode(&large).width, 512);
                assert_eq!(Pixels::decode(&small).width, 128);
            }
            for id in seen.replaced.drain(..) {
                let file = format!("/media/profile_pictures/{id}/512.jpg");
                server.get(&file).expect(404);
            }
            if live != seen.last {
                seen.last = live;
            }
        }
    }
}

impl Running {
    /// Waits until the clients have noticed that the server is gone.
    pub(super) fn ended(self) {
        for client in self.0 {
            client.join().unwrap();
        }
    }
}

impl Seen {
    fn answered(&mut self, profile: &Value) {
        let before = std::mem::replace(&mut self.last, picture(profile));
        self.replaced.extend(before.map(|(id, _)| id));
        self.asked.clear();
        self.answers += 1;
    }
}

fn picture(profile: &Value) -> Picture {
    let picture = profile["picture"].as_object()?;
    let text = |name: &str| picture[name].as_str().unwrap().to_owned();
    Some((text("id"), text("uploaded_at")))
}
