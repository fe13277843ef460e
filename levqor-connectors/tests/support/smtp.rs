//! A small mail server that speaks enough of RFC 5321 to be talked to, and can be told to fail.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail that was taken.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
    pub login: Option<String>,
}

/// What goes wrong: the reply to a command, by the command's first word (`.` for the end of the text); an empty
/// reply breaks the connection, `-` says nothing at all.
pub type Faults = HashMap<&'static str, &'static str>;

pub struct Sink {
    pub address: SocketAddr,
    pub taken: Arc<Mutex<Vec<Taken>>>,
    pub dialogues: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    pub async fn start(faults: &[(&'static str, &'static str)]) -> Self {
        let faults: Faults = faults.iter().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Sink {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            dialogues: Arc::default(),
        };
        let (taken, dialogues) = (Arc::clone(&sink.taken), Arc::clone(&sink.dialogues));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (faults, taken, dialogues) = (faults.clone(), Arc::clone(&taken), Arc::clone(&dialogues));
                tokio::spawn(async move {
                    let mut log = String::new();
                    let _ = serve(socket, &faults, &taken, &mut log).await;
                    dialogues.lock().unwrap().push(log);
                });
            }
        });
        sink
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, faults: &Faults, taken: &Mutex<Vec<Taken>>, log: &mut String) -> std::io::Result<()> {
    let mut stream = BufReader::new(socket);
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    let mut mail = Taken::default();
    let mut login = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        log.push_str(&line);
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
        let mut reply = match verb.as_str() {
            "EHLO" => "250-sink greets you\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
            "AUTH" => {
                let given = line.rsplit(' ').next().unwrap();
                login = Some(String::from_utf8(STANDARD.decode(given).unwrap()).unwrap());
                "235 welcome\r\n".to_owned()
            }
            "MAIL" => {
                mail.from = line.split(['<', '>']).nth(1).unwrap().to_owned();
                "250 ok\r\n".to_owned()
            }
            "RCPT" => {
                mail.to.push(line.split(['<', '>']).nth(1).unwrap().to_owned());
                "250 ok\r\n".to_owned()
            }
            "DATA" => "354 go on\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "502 what?\r\n".to_owned(),
        };
        let special = if verb == "RCPT" {
            mail.to.last().map(String::as_str)
        } else {
            None
        };
        if let Some(fault) = faults.get(special.unwrap_or_default()).or_else(|| faults.get(verb.as_str())) {
            match *fault {
                "" => return Ok(()),
                "-" => std::future::pending::<()>().await,
                other => reply = format!("{other}\r\n"),
            }
        }
        let goes_on = reply.starts_with("354");
        stream.write_all(reply.as_bytes()).await?;
        if verb == "QUIT" {
            return Ok(());
        }
        if !goes_on {
            continue;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == ".\r\n" {
                break;
            }
            mail.data.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        match faults.get(".") {
            Some(&"") => return Ok(()),
            Some(&"-") => std::future::pending::<()>().await,
            Some(other) => stream.write_all(format!("{other}\r\n").as_bytes()).await?,
            None => {
                let done = std::mem::take(&mut mail);
                taken.lock().unwrap().push(Taken {
                    login: login.clone(),
                    ..done
                });
                stream.write_all(b"250 queued as 42\r\n").await?;
            }
        }
    }
}
