//! `pockitd migrate import-django`, from a project that Django itself has made and from tables made up here.

mod conflicts;

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::home;
use crate::support::process::{Outcome, assert_failed};
use crate::support::server::Home;
use crate::support::stored::unpack;
use crate::support::token::{access_claims, signed};
use crate::support::{PROFILE, Request, Server, Setup};

/// Where a project lies: database and media folder.
struct Project(tempfile::TempDir);

impl Project {
    /// The one that `tests/fixtures/django-project.py` has made.
    fn real() -> Self {
        let directory = tempfile::tempdir().unwrap();
        unpack("django", directory.path());
        Self(directory)
    }

    /// A database made by these statements, with an empty media folder.
    fn made(sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("media")).unwrap();
        let database = Connection::open(directory.path().join("db.sqlite3")).unwrap();
        database.execute_batch(sql).unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn import(&self, home: &Home, arguments: &[&str]) -> Outcome {
        let database = self.path().join("db.sqlite3").display().to_string();
        let media = self.path().join("media").display().to_string();
        let fixed = [
            "migrate",
            "import-django",
            "--database",
            &database,
            "--media",
            &media,
        ];
        home.run(&[&fixed, arguments].concat())
    }

    /// The rows and the summary.
    fn told(&self, home: &Home, arguments: &[&str]) -> (Vec<Value>, Value) {
        let outcome = self
            .import(home, &[&["--json"], arguments].concat())
            .expect(0);
        let lines = outcome.stdout.lines();
        let mut lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let summary = lines.pop().expect("there is a summary")["summary"].clone();
        (
            lines.into_iter().map(|line| line["user"].clone()).collect(),
            summary,
        )
    }
}

fn summary(counts: [u64; 7]) -> Value {
    let [
        rows,
        added,
        replaced,
        unchanged,
        skipped,
        pictures,
        with_problems,
    ] = counts;
    json!({ "rows": rows, "added": added, "replaced": replaced, "unchanged": unchanged, "skipped": skipped,
            "damaged": 0, "completed": 0, "pictures": pictures, "with_problems": with_problems })
}

fn profile(server: &Server, id: &str) -> Value {
    server
        .get(&format!("/api/users/{id}/profile/"))
        .expect(200)
        .json()
}

fn log_in(server: &Server, email: &str) -> u16 {
    let body = json!({ "email": email, "password": "correct horse battery" });
    server
        .send(&Request::post("/api/auth/login/").json(&body))
        .status
}

/// Everybody of the real project is as they were.
fn is_taken_over(server: &Server) {
    let ada = profile(server, "1");
    assert_eq!(ada["name"], "Ada Lovelace");
    assert_eq!(
        ada["picture"]["applied"],
        json!(["rotated", "cropped", "enlarged", "metadata_removed"])
    );
    server.pictures(&ada);
    assert_eq!(profile(server, "2")["has_picture"], json!(true));
    for (id, name) in [
        ("3", "No Picture"),
        ("4", "Gone File"),
        ("5", "Escapes"),
        ("6", "Broken Picture"),
        ("8", "bad-name"),
    ] {
        let profile = profile(server, id);
        assert_eq!(
            (&profile["name"], &profile["has_picture"]),
            (&json!(name), &json!(false))
        );
    }
    for email in ["ada@example.org", "grace@example.org", "gone@example.org"] {
        assert_eq!(log_in(server, email), 200, "{email}");
    }
    for email in ["banned@example.org", "no-password@example.org"] {
        assert_eq!(log_in(server, email), 401, "{email}");
    }
    // A token that the project has issued: simplejwt writes the id as a number.
    let mut token = access_claims("1");
    token["user_id"] = json!(1);
    let own = server
        .send(&Request::get(PROFILE).bearer(&signed(&token)))
        .expect(200);
    assert_eq!(own.json()["user_id"], "1");
}

#[test]
fn real_project_is_taken_over_and_no_bad_row_stops_it() {
    let project = Project::real();
    let database = fs::read(project.path().join("db.sqlite3")).unwrap();
    let server = Setup::new().start_after(|home| {
        let dry = project.told(home, &["--dry-run"]);
        assert_eq!(
            home.run(&["user", "list"]).expect(0).stdout,
            "",
            "nothing was written"
        );
        let told = project.told(home, &[]);
        assert_eq!(told, dry, "a dry run says what comes");
        assert_eq!(told.1, summary([10, 8, 0, 0, 2, 2, 4]));
        let problem = |row: usize| told.0[row]["problems"][0].as_str().unwrap();
        assert!(problem(3).contains("gone.jpg") && problem(3).contains("No such file"));
        assert!(problem(4).contains("is not below the media folder"));
        assert!(problem(5).contains("corrupt.jpg"));
        assert_eq!(told.0[6]["outcome"]["skipped"], "the user is not active");
        assert!(problem(7).contains("the name: "));
        assert_eq!(
            told.0[9]["outcome"]["skipped"],
            "the e-mail address: Enter a valid email address."
        );
        // As after an interruption.
        assert_eq!(project.told(home, &[]).1, summary([10, 0, 0, 8, 2, 0, 3]));
    });
    is_taken_over(&server);
    server.home().run(&["check", "store"]).expect(0);
    assert_eq!(
        fs::read(project.path().join("db.sqlite3")).unwrap(),
        database,
        "only read"
    );
    let files: Vec<_> = fs::read_dir(project.path()).unwrap().collect();
    assert_eq!(files.len(), 2, "no journal beside the database: {files:?}");
}

#[test]
fn real_project_is_taken_over_by_a_running_server() {
    let project = Project::real();
    let server = Server::start();

    let said = project.import(server.home(), &[]).expect(0).stdout;

    assert!(said.starts_with("1\t1\tada@example.org\tadded\n"), "{said}");
    assert!(said.ends_with("10 users: 8 added, 0 replaced, 0 unchanged, 2 skipped; 2 with a picture, 4 with problems\n"), "{said}");
    is_taken_over(&server);
}

#[test]
fn inactive_users_come_without_a_password_if_they_are_to() {
    let project = Project::real();
    let server = Setup::new().start_after(|home| {
        let (rows, _) = project.told(home, &["--with-inactive", "--id-prefix", "old-"]);
        assert_eq!(
            (&rows[6]["old_id"], &rows[6]["user_id"]),
            (&json!("7"), &json!("old-7"))
        );
        assert_eq!(rows[6]["outcome"], "added");
    });
    assert_eq!(profile(&server, "old-7")["name"], "Banned");
    assert_eq!(log_in(&server, "banned@example.org"), 401);
    assert_eq!(log_in(&server, "ada@example.org"), 200);
}

/// Django's own users, as `django.contrib.auth` makes the table.
const AUTH_USER: &str = r#"CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    "password" varchar(128) NOT NULL, "last_login" datetime NULL, "is_superuser" bool NOT NULL,
    "username" varchar(150) NOT NULL UNIQUE, "last_name" varchar(150) NOT NULL, "email" varchar(254) NOT NULL,
    "is_staff" bool NOT NULL, "is_active" bool NOT NULL, "date_joined" datetime NOT NULL,
    "first_name" varchar(150) NOT NULL);"#;

#[test]
fn users_of_django_itself_have_their_names_and_times() {
    let project = Project::made(&format!(
        r"{AUTH_USER} INSERT INTO auth_user VALUES
        (7, '!x', NULL, 0, 'ada', 'Lovelace', 'ada@example.org', 0, 1, '2024-05-06 07:08:09.123456', 'Ada'),
        (8, 'bcrypt$$2b$12$x', NULL, 0, 'grace', '', 'grace@example.org', 0, 1, 'never', ''),
        (9, '', NULL, 0, 'x@example.org', '', 'x@example.org', 0, 1, '2024-05-06 07:08:09', '');"
    ));
    let server = Setup::new().start_after(|home| {
        let (rows, sum) = project.told(home, &[]);
        assert_eq!(sum, summary([3, 3, 0, 0, 0, 0, 1]));
        let problem = rows[1]["problems"][0].as_str().unwrap();
        assert!(
            problem.contains("no known kind") && problem.contains("without a password"),
            "{problem}"
        );
    });
    let ada = profile(&server, "7");
    assert_eq!(
        (&ada["name"], &ada["created_at"]),
        (
            &json!("Ada Lovelace"),
            &json!("2024-05-06T07:08:09.123456Z")
        )
    );
    assert_eq!(profile(&server, "8")["name"], "grace");
    assert_eq!(
        profile(&server, "9")["name"],
        "x",
        "an address is nobody else's business"
    );
}

#[test]
fn tables_and_columns_may_be_called_anything() {
    let sql = r#"CREATE TABLE "odd ""users" (key char(32) PRIMARY KEY, mail text, secret text, alive bool, since datetime);
        CREATE TABLE faces (owner char(32) REFERENCES "odd ""users" (key), nick text, face text);
        CREATE TABLE likes (id integer, email text, password text);
        INSERT INTO "odd ""users" VALUES ('0123456789abcdef0123456789abcdef', 'ada@example.org', '', 1, NULL);
        INSERT INTO faces VALUES ('0123456789abcdef0123456789abcdef', 'Ada', 'a/rgb.png');
        INSERT INTO faces VALUES ('0123456789abcdef0123456789abcdef', 'Twice', NULL);"#;
    let project = Project::made(sql);
    fs::create_dir(project.path().join("media/a")).unwrap();
    fs::write(
        project.path().join("media/a/rgb.png"),
        crate::support::fixture("rgb.png"),
    )
    .unwrap();
    let named = [
        "--table",
        "odd \"users",
        "--profile-table",
        "faces",
        "--column",
        "id=key",
        "--column",
        "email=mail",
        "--column",
        "password=secret",
        "--column",
        "active=alive",
        "--column",
        "created=since",
        "--column",
        "name=nick",
        "--column",
        "picture=face",
    ];
    let server = Setup::new().start_after(|home| {
        assert_eq!(project.told(home, &named).1, summary([1, 1, 0, 0, 0, 1, 0]));
    });
    // As simplejwt spells a UUID.
    let ada = profile(&server, "01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!(
        (&ada["name"], &ada["has_picture"]),
        (&json!("Ada"), &json!(true))
    );
}

#[test]
fn project_that_is_not_understood_is_refused_with_a_sentence_that_helps() {
    let home = home();
    let two = r"CREATE TABLE a_user (id int, email text, password text); CREATE TABLE b_user (id int, email text, password text);";
    for (sql, arguments, words) in [
        (
            "CREATE TABLE x (id int);",
            &[][..],
            &["no table of users", "--table"][..],
        ),
        (two, &[], &["several tables of users", "a_user, b_user"]),
        (two, &["--table", "c_user"], &["no table c_user"]),
        (
            two,
            &["--table", "a_user", "--column", "email=mail"],
            &["no column mail", "id, email, password"],
        ),
    ] {
        let project = Project::made(sql);
        assert_failed(&project.import(&home, arguments), words);
    }
    let project = Project::made("CREATE TABLE x (id int);");
    fs::write(
        project.path().join("db.sqlite3"),
        "no database at all, but long enough to be looked at",
    )
    .unwrap();
    assert_failed(&project.import(&home, &[]), &["cannot read the database"]);
    fs::remove_file(project.path().join("db.sqlite3")).unwrap();
    assert_failed(&project.import(&home, &[]), &["cannot read the database"]);
    assert!(
        !project.path().join("db.sqlite3").exists(),
        "it is not made"
    );
    let wrong = project.import(&home, &["--column", "face=x"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn pictures_of_posts_are_nobodys_profile_picture() {
    let project = Project::made(
        "CREATE TABLE m_user (id integer PRIMARY KEY, email text, password text);
        CREATE TABLE post (id integer PRIMARY KEY, author_id integer REFERENCES m_user (id), name text, image text);
        INSERT INTO m_user VALUES (1, 'ada@example.org', '');
        INSERT INTO post VALUES (1, 1, 'Private', 'rgb.png');",
    );
    let rgb = crate::support::fixture("rgb.png");
    fs::write(project.path().join("media/rgb.png"), rgb).unwrap();

    let server = Setup::new().start_after(|home| {
        assert_eq!(project.told(home, &[]).1, summary([1, 1, 0, 0, 0, 0, 0]));
    });

    let ada = profile(&server, "1");
    assert_eq!(
        (&ada["name"], &ada["has_picture"]),
        (&json!("ada"), &json!(false))
    );
}

#[test]
fn picture_behind_a_link_out_of_the_media_folder_is_not_read() {
    let sql = "CREATE TABLE m_user (id int, email text, password text, avatar text);
        INSERT INTO m_user VALUES (1, 'a@example.org', '', 'link.png'), (2, 'b@example.org', '', '/etc/passwd'),
        (3, 'c@example.org', '', 'a/../../x.png'), (4, 'd@example.org', '', 'folder'), (5, 'e@example.org', '', 'large.png');";
    let project = Project::made(sql);
    let media = project.path().join("media");
    fs::write(
        project.path().join("x.png"),
        crate::support::fixture("rgb.png"),
    )
    .unwrap();
    std::os::unix::fs::symlink(project.path().join("x.png"), media.join("link.png")).unwrap();
    fs::create_dir(media.join("folder")).unwrap();
    fs::write(media.join("large.png"), vec![0; 2_000_000]).unwrap();

    let (rows, sum) = project.told(&home(), &["--set", "http.upload_bytes_max=1000000"]);

    assert_eq!(sum, summary([5, 5, 0, 0, 0, 0, 5]));
    let words = [
        "is a link to a file",
        "is not below",
        "is not below",
        "is not a file",
        "has 2000000 bytes, http.upload_bytes_max is 1000000",
    ];
    for (row, words) in rows.iter().zip(words) {
        let problem = row["problems"][0].as_str().unwrap();
        assert!(problem.contains(words), "{problem}");
    }
}
