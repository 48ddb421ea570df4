//! One user, many threads, and the garbage collection in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{AtTheEnd, patient, rounds};
use crate::support::{Form, PICTURE, Request, fixture};

#[test]
fn one_user_in_64_threads_beside_garbage_collection_has_exactly_one_picture() {
    let server = patient().set("workers.queue_max", "64").start();
    let user = server.user();
    let form = Form::image(&fixture("rgb.png"));
    let upload = Request::post(PICTURE).bearer(&user.access).form(&form);
    let address = server.address();
    let over = AtomicBool::new(false);
    let rounds = rounds(2, 50);
    let home = server.home();

    let (ids, collections) = thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collections = 0;
            while !over.load(Ordering::Relaxed) {
                let gc = ["gc-pictures", "--older-than", "1", "--json"];
                let told = home.run(&gc).expect(0).stdout;
                assert!(told.contains(r#""findings":0"#), "{told}");
                collections += 1;
            }
            collections
        });
        let end = AtTheEnd(&over);
        let uploaders: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = Vec::new();
                    while ids.len() < usize::try_from(rounds).unwrap() {
                        let reply = upload.send(address);
                        if reply.status == 200 {
                            let id = &reply.json()["picture"]["id"];
                            ids.push(id.as_str().unwrap().to_owned());
                        } else {
                            assert_eq!(reply.status, 503, "{}", reply.text());
                        }
                    }
                    ids
                })
            })
            .collect();
        let ids: Vec<_> = uploaders
            .into_iter()
            .flat_map(|uploader| uploader.join().unwrap())
            .collect();
        drop(end);
        (ids, collector.join().unwrap())
    });

    let live = server.profile(&user)["picture"]["id"].clone();
    assert_eq!(ids.iter().filter(|id| live == **id).count(), 1);
    for id in &ids {
        let status = if live == *id { 200 } else { 404 };
        let file = format!("/media/profile_pictures/{id}/512.jpg");
        server.get(&file).expect(status);
    }
    let checked = server.home().run(&["check", "store", "--json"]).expect(0);
    assert!(checked.stdout.contains(r#""pictures":1,"#), "{checked:?}");
    println!("race: {} uploads, {collections} collections", ids.len());
}
