//! One request in is one request seen, by whichever origin.

use super::cases::Case;
use super::origins::{Origin, Script};
use super::reader::{Read, Seen, Style};
use super::{Front, REQUESTS, exchange};
use crate::world::WEB;

#[tokio::test]
async fn a_library_behind() {
    matrix(Origin::library().await).await;
}

#[tokio::test]
async fn a_reader_who_believes_lengths_behind() {
    matrix(Origin::reading(Style::LengthFirst, Script::default()).await).await;
}

#[tokio::test]
async fn a_reader_who_believes_chunks_behind() {
    matrix(Origin::reading(Style::ChunksFirst, Script::default()).await).await;
}

/// How a client's bytes leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Whole,
    /// A few bytes at a time.
    Pieces,
}

async fn matrix(origin: Origin) {
    let cases = Case::all(REQUESTS);
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let front = Front::new(origin.port).await;
    let mut findings = Vec::new();
    // Deliveries differ in nothing that may be seen.
    for delivery in [Delivery::Whole, Delivery::Pieces] {
        for case in &cases {
            if let Err(finding) = front.try_case(&origin, case, delivery).await {
                findings.push(format!("{} ({delivery:?}): {finding}", case.name));
            }
        }
    }
    front.stop().await;
    let cuts = 2 * cases.iter().filter(|c| c.cut).count();
    findings.extend(judge(&origin.record.lock().unwrap().connections, cuts));
    assert!(
        findings.is_empty(),
        "{} findings\n{}",
        findings.len(),
        findings.join("\n")
    );
}

impl Front {
    async fn try_case(
        &self,
        origin: &Origin,
        case: &Case,
        delivery: Delivery,
    ) -> Result<(), String> {
        origin.record.lock().unwrap().seen.clear();
        let answers = self.send(&case.with_last(), delivery).await?;
        let told = statuses(&answers);
        if told != case.statuses() {
            let wanted = case.statuses();
            return Err(format!("answered {told:?}, expected {wanted:?}\n{answers}"));
        }
        // Whoever comes next on the same connection to the origin gets their own answer.
        let target = format!("/next/{}", case.name);
        let request = format!("GET {target} HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\n\r\n");
        let own = self.send(request.as_bytes(), Delivery::Whole).await?;
        if statuses(&own) != [200] || !own.ends_with(&format!("\r\n\r\nGET {target}")) {
            return Err(format!("the next client was answered {own}"));
        }
        seen_as_expected(
            case,
            &std::mem::take(&mut origin.record.lock().unwrap().seen),
        )
    }

    async fn send(&self, bytes: &[u8], delivery: Delivery) -> Result<String, String> {
        let piece = match delivery {
            Delivery::Whole => bytes.len(),
            // Long ones only ask for patience.
            Delivery::Pieces => (bytes.len() / 40).max(3),
        };
        let answers = exchange(self.proxy, bytes, piece).await?;
        Ok(String::from_utf8_lossy(&answers).into_owned())
    }
}

/// Statuses in a row; none of the bodies here holds what looks like one.
fn statuses(answers: &str) -> Vec<u16> {
    let lines = answers.match_indices("HTTP/1.1 ");
    let all = lines.filter_map(|(at, line)| answers.get(at + line.len()..)?.get(..3)?.parse().ok());
    all.filter(|status| *status != 100).collect()
}

/// One request per good answer, each with its body, and the one of the next client.
fn seen_as_expected(case: &Case, seen: &[Seen]) -> Result<(), String> {
    let good: Vec<_> = case.answers.iter().filter(|a| a.status == 200).collect();
    let foreign = seen
        .iter()
        .any(|s| s.host != WEB || s.target.starts_with("/smuggled"));
    let bodies = good.iter().zip(seen);
    let bodies = bodies.filter(|(wanted, seen)| wanted.body.is_some_and(|b| b != seen.body.len()));
    match seen.len() == good.len() + 1 && !foreign && bodies.count() == 0 {
        true => Ok(()),
        false => Err(format!("the origin saw {seen:#?}")),
    }
}

/// What is wrong with the bytes origins got; at most `cuts` connections may end within a request.
fn judge(connections: &[Vec<u8>], cuts: usize) -> Vec<String> {
    let (mut findings, mut unfinished) = (Vec::new(), 0);
    for bytes in connections {
        match alike(bytes) {
            Ok(rest) => unfinished += usize::from(rest > 0),
            Err(finding) => findings.push(finding),
        }
    }
    if unfinished > cuts {
        findings.push(format!(
            "{unfinished} connections ended within a request, at most {cuts} may"
        ));
    }
    findings
}

/// All readers must find the same requests in the bytes of a connection; answers how many bytes were the beginning of a further one.
fn alike(mut bytes: &[u8]) -> Result<usize, String> {
    loop {
        let strict = Style::Strict.read(bytes);
        let others = [Style::LengthFirst, Style::ChunksFirst].map(|style| style.read(bytes));
        match strict {
            Read::Whole(_, taken) if others.iter().all(|o| *o == strict) => bytes = &bytes[taken..],
            Read::More => return Ok(bytes.len()),
            _ => {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]);
                return Err(format!("read as {strict:?} and as {others:?}: {text:?}"));
            }
        }
    }
}
