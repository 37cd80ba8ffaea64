//! `uploads`: no picture can hurt the others.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use crate::client::{Service, is_worker, worker_pids};

const PROGRAM: &str = env!("CARGO_BIN_EXE_uploads");

/// A blur as wide as this takes minutes.
const ENDLESS: &str = "/thumbnails?side=1024&blur=9999";

/// A number of workers, and of requests that may wait. All of them have a minute.
async fn start(workers: &str, queue: &str) -> Service {
    Service::start(PROGRAM, &["0", workers, queue, "60"]).await
}

/// 400 by 300 pixels.
fn picture() -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    RgbImage::from_pixel(400, 300, Rgb([200, 120, 40]))
        .write_to(&mut png, ImageFormat::Png)
        .unwrap();
    png.into_inner()
}

/// 54 bytes that say that they unpack to 484 megabytes.
fn bomb() -> Vec<u8> {
    let side = 11_000_u32.to_be_bytes();
    let header = [&b"IHDR"[..], &side, &side, &[8, 6, 0, 0, 0]].concat();
    let pixels = [&b"IDAT"[..], &[0x78, 0x9c, 0x63, 0, 0, 0, 1, 0, 1]].concat();
    let chunk = |data: &[u8]| {
        let length = u32::try_from(data.len() - 4).unwrap().to_be_bytes();
        [&length, data, &crc(data).to_be_bytes()].concat()
    };
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(&header), &chunk(&pixels)].concat()
}

fn crc(data: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

#[tokio::test]
async fn a_picture_comes_back_small() {
    let service = start("1", "100").await;
    let answer = service.request("POST", "/thumbnails?side=100&blur=1", picture()).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"image/png".parse().unwrap())
    );
    let small = image::load_from_memory(&answer.bytes().await.1).unwrap();
    assert_eq!((small.width(), small.height()), (100, 75));
    let (status, health) = service.get("/healthz").await;
    assert_eq!((status, health["state"].as_str()), (200, Some("ready")));
}

/// What is wrong with an upload is answered to whoever has sent it, and the task of another client
/// runs on, in the same worker.
#[tokio::test]
async fn a_bomb_is_one_failed_request_and_the_others_go_on() {
    let service = start("2", "100").await;
    let endless = service.spawn("POST", ENDLESS, picture());
    service.stats_when(|pool| pool["running"] == 1).await;

    for (path, upload, answer) in [
        ("/thumbnails", bomb(), (413, "worker_death")),
        ("/thumbnails?blur=-1", picture(), (422, "panic")),
        ("/thumbnails", vec![0; (8 << 20) + 1], (413, "length limit exceeded")),
        ("/thumbnails", picture()[..60].to_vec(), (415, "")),
    ] {
        let (status, body) = service.request("POST", path, upload).await.json().await;
        let error = body["error"].as_str().unwrap();
        assert!(status == answer.0 && error.contains(answer.1), "{path}: {status}, {body}");
    }

    assert_eq!(service.request("POST", "/thumbnails", picture()).await.status, 200);
    let stats = service.stats_when(|pool| pool["worker_deaths"] == 1).await;
    assert_eq!(stats["pool"]["running"], 1, "{stats}");
    assert!(!endless.is_finished());
    endless.abort();
}

#[tokio::test]
async fn a_request_has_a_deadline_and_nobody_else_waits_for_it() {
    let service = start("2", "100").await;
    let path = format!("{ENDLESS}&within_ms=3000");
    let late = service.spawn("POST", &path, picture());
    service.stats_when(|pool| pool["running"] == 1).await;
    assert_eq!(service.request("POST", "/thumbnails", picture()).await.status, 200);
    assert!(!late.is_finished());
    let (status, body) = late.await.unwrap().json().await;
    assert_eq!((status, body["error"].as_str()), (504, Some("deadline")));
    service.stats_when(|pool| pool["running"] == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_task() {
    let service = start("1", "100").await;
    let endless = service.spawn("POST", ENDLESS, picture());
    service.stats_when(|pool| pool["running"] == 1).await;
    endless.abort();
    service.stats_when(|pool| pool["running"] == 0 && pool["cancelled"] == 1).await;
    assert_eq!(service.request("POST", "/thumbnails", picture()).await.status, 200);
}

#[tokio::test]
async fn overload_is_a_503_at_once() {
    let service = start("1", "1").await;
    let running = service.spawn("POST", ENDLESS, picture());
    service.stats_when(|pool| pool["running"] == 1).await;
    let waiting = service.spawn("POST", ENDLESS, picture());
    service.stats_when(|pool| pool["waiting"] == 1).await;

    let answer = service.request("POST", "/thumbnails", picture()).await;
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(answer.json().await.1["error"], "queue_full");
    assert_eq!(service.get("/healthz").await.0, 200); // it is busy, and not ill
    assert!(!running.is_finished() && !waiting.is_finished());
}

#[tokio::test]
async fn sigterm_finishes_what_runs_and_leaves_no_worker() {
    let mut service = start("1", "100").await;
    let slow = service.spawn("POST", "/thumbnails?blur=300", picture()); // a second
    let stats = service.stats_when(|pool| pool["submitted"] == 1).await;
    let pids = worker_pids(&stats);
    assert!(!pids.is_empty() && pids.iter().all(|&pid| is_worker(pid)), "{stats}");

    service.terminate();
    assert_eq!(service.next_line().await, "stopping; running requests may finish");
    assert_eq!(slow.await.unwrap().status, 200);
    let (output, code) = service.end().await;
    assert_eq!((code, output.as_str()), (Some(0), "1 tasks finished, 0 were cancelled\n"));
    let left: Vec<_> = pids.into_iter().filter(|&pid| is_worker(pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}
