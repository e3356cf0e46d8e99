//! The README's example in Rust, word for word, in a program: `verify KEY SCOPE` prints the verdict. `languages.py` runs it.

async fn verify(key: &str, scope: &str) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/keys/verify", std::env::var("COUNTERSIGN")?))
        .bearer_auth(std::env::var("VERIFIER")?)
        .json(&serde_json::json!({"key": key, "scope": scope}))
        .send()
        .await?
        .error_for_status()?;
    Ok(answer.json::<serde_json::Value>().await?["data"].take())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [key, scope] = words.as_slice() else { return Err("usage: verify KEY SCOPE".into()) };
    let verdict = verify(key, scope).await?;
    println!("{verdict}");
    Ok(())
}
