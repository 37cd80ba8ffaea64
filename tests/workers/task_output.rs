//! Which task has printed what.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, StartMethod, TaskId, WorkerOutput};

use crate::common::in_time;

#[expect(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
fn say(text: String) {
    println!("{text}");
}

#[expect(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
fn say_without_end(text: String) {
    print!("{text}");
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
}

fn be_silent() {}

#[expect(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
fn say_and_abort(text: String) {
    println!("{text}");
    std::process::abort()
}

fn abort(_: u64) {
    std::process::abort()
}

/// Each thousandth item prints, and one aborts, with or without a word.
fn item(n: u64) -> u64 {
    if n % 1000 == 7 {
        println!("secret of item {n}");
    }
    if n % 10_000 == 5_000 {
        println!("item {n} is odd");
        std::process::abort();
    }
    if n % 10_000 == 8_000 {
        std::process::abort();
    }
    n
}

/// Prints for as long as the worker lives.
fn leave_a_thread(text: String) {
    std::thread::spawn(move || {
        loop {
            println!("{text}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
}

procpool::register!(say, say_without_end, be_silent, say_and_abort, abort, item, leave_a_thread);

type Said = Arc<Mutex<Vec<(Option<TaskId>, String)>>>;

fn pool(method: StartMethod) -> (ProcessPoolExecutor, Said) {
    let said = Said::default();
    let lines = Arc::clone(&said);
    let output = WorkerOutput::lines(move |line| {
        lines.lock().unwrap().push((line.task, line.text.to_owned()));
    });
    let builder = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    (builder.worker_output(output).build().unwrap(), said)
}

/// Tasks are counted from one on.
fn number(task: TaskId) -> u64 {
    task.to_string().trim_start_matches("task ").parse().unwrap()
}

fn both() -> [StartMethod; 2] {
    [StartMethod::Spawn, StartMethod::ForkServer]
}

#[tokio::test]
async fn lines_tell_their_tasks() {
    for method in both() {
        let (pool, said) = pool(method);
        let mut expected = Vec::new();
        let mut handles = Vec::new();
        for number in 0..300 {
            let handle = match number % 3 {
                0 => {
                    let handle = pool.submit(say, format!("line {number}")).await.unwrap();
                    expected.push((handle.id(), format!("line {number}")));
                    handle
                }
                1 => {
                    let handle =
                        pool.submit(say_without_end, format!("part {number}")).await.unwrap();
                    expected.push((handle.id(), format!("part {number}")));
                    handle
                }
                _ => pool.submit(be_silent, ()).await.unwrap(),
            };
            // Some one after the other, and some in a queue.
            if number < 100 {
                in_time(handle).await.unwrap();
            } else {
                handles.push(handle);
            }
        }
        for handle in handles {
            in_time(handle).await.unwrap();
        }
        in_time(pool.shutdown()).await;
        let said = said.lock().unwrap();
        let mut unknown = 0;
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for ((task, text), (expected, line)) in said.iter().zip(&expected) {
            assert_eq!(text, line);
            assert!(task.is_none_or(|task| task == *expected), "{text}: {task:?}, not {expected}");
            unknown += u32::from(task.is_none());
        }
        println!("{unknown} of {} lines have no task", said.len());
        assert!(said.iter().take(60).all(|(task, _)| task.is_some()), "{said:?}");
    }
}

#[tokio::test]
async fn the_error_of_a_task_has_its_own_output_and_no_others() {
    for method in both() {
        let (pool, _) = pool(method);
        for number in 0..20 {
            let mut handles = Vec::new();
            for _ in 0..3 {
                let text = "token of alice is s3cr3t".to_owned();
                handles.push(pool.submit(say, text).await.unwrap());
            }
            for _ in 0..(number % 5) * 50 {
                handles.push(pool.submit(be_silent, ()).await.unwrap());
            }
            let bob = match number % 2 {
                0 => pool.submit(say_and_abort, format!("of bob {number}")).await.unwrap(),
                _ => pool.submit(abort, number).await.unwrap(),
            };
            for handle in handles {
                in_time(handle).await.unwrap();
            }
            let error = in_time(bob).await.unwrap_err();
            assert!(error.worker_death().unwrap().stderr_tail().contains("s3cr3t"), "{error:?}");
            let own = if number % 2 == 0 { format!("of bob {number}\n") } else { String::new() };
            assert_eq!(error.output(), Some(&*own), "{error}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
            assert_eq!(error.to_string().contains("of bob"), number % 2 == 0, "{error}");
        }
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn the_error_of_an_item_has_its_own_output_and_no_others() {
    for method in both() {
        let (pool, said) = pool(method);
        let results: Vec<_> = in_time(pool.map(item, 0..30_000_u64).collect()).await;
        let mut quoted = 0;
        for (n, result) in results.iter().enumerate() {
            let Err(error) = result else { continue };
            let text = error.to_string();
            assert!(!text.contains("secret"), "{n}: {text}");
            let own = format!("item {n} is odd\n");
            match error.output() {
                // It was too quick to be told from those before it in its chunk.
                None => {}
                Some(output) if n % 10_000 == 5_000 => assert_eq!(output, own),
                Some(output) => assert_eq!(output, ""),
            }
            quoted += u32::from(text.contains("is odd"));
        }
        let errors = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(errors, 6);
        println!("{quoted} of 3 are quoted");
        in_time(pool.shutdown()).await;
        let said = said.lock().unwrap();
        assert!(said.len() >= 33, "{said:?}");
        for (task, text) in said.iter() {
            let n: u64 = text.split(' ').find_map(|word| word.parse().ok()).unwrap();
            assert!(task.is_none_or(|task| number(task) == n + 1), "{text}: {task:?}");
        }
    }
}

#[tokio::test]
async fn tasks_keep_their_lines_beside_a_thread_that_prints() {
    let (pool, said) = pool(StartMethod::Spawn);
    in_time(pool.run(leave_a_thread, "stray".to_owned())).await.unwrap();
    for number in 0..500 {
        in_time(pool.run(say, format!("own {number}"))).await.unwrap();
    }
    let error = in_time(pool.run(say_and_abort, "last".to_owned())).await.unwrap_err();
    assert!(error.output().unwrap().contains("last\n"), "{error}");
    in_time(pool.shutdown()).await;
    assert!(said.lock().unwrap().iter().any(|(_, text)| text == "stray"), "it has not printed");
    for (task, text) in said.lock().unwrap().iter() {
        if let Some(number) = text.strip_prefix("own ") {
            let number: u64 = number.parse().unwrap();
            assert_eq!(task.map(self::number), Some(number + 2), "{text}");
        }
    }
}
