//! `fanout relay topics`: topics that are added and removed while the relay runs.

use fanout_relay::operations::{Operation, Performed, TopicsOf};

use super::Loaded;
use super::check::{note_excess, streams};
use super::operate::{changed, operate, other};
use crate::error::Error;
use crate::output::{Output, Quoted};

#[derive(Debug, clap::Subcommand)]
pub(super) enum TopicsCommand {
    /// Add topics. They stay over a restart
    Add(TopicsArgs),
    /// Remove topics that were added. Their messages in the spool are still delivered
    Remove(TopicsArgs),
    /// List the topics that were added
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct TopicsArgs {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,

    /// The name of the subscription [default: the only one of the file]
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,

    /// Print the number of topics as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(file: &Loaded, command: TopicsCommand, output: &mut Output) -> Result<(), Error> {
    let (json, operation, what) = match command {
        TopicsCommand::Add(args) => (args.json, Operation::AddTopics(args.of(file)?), "added"),
        TopicsCommand::Remove(args) => (args.json, Operation::RemoveTopics(args.of(file)?), "removed"),
        TopicsCommand::List { json } => {
            for TopicsOf { subscription, topics } in added(file).await? {
                for topic in topics {
                    if json {
                        output.json(&serde_json::json!({ "subscription": subscription, "topic": topic }))?;
                    } else {
                        output.result(format_args!("{}, for {}", Quoted(&topic), Quoted(&subscription)))?;
                    }
                }
            }
            return Ok(());
        }
    };
    changed(file, operation, ("topic", what, json), output).await?;
    let added: usize = added(file).await?.iter().map(|of| of.topics.len()).sum();
    note_excess(streams(file) + added, output);
    Ok(())
}

async fn added(file: &Loaded) -> Result<Vec<TopicsOf>, Error> {
    let Performed::Topics(topics) = operate(file, Operation::Topics).await? else { return Err(other()) };
    Ok(topics)
}

impl TopicsArgs {
    fn of(self, file: &Loaded) -> Result<TopicsOf, Error> {
        let names: Vec<_> =
            file.subscriptions.iter().map(|(subscription, _)| subscription.name.as_str()).collect();
        let subscription = match (self.subscription, &names[..]) {
            (Some(name), _) if names.contains(&name.as_str()) => name,
            (Some(name), _) => {
                return Err(Error::Usage(format!("the file has no subscription {name:?}; it has {names:?}")));
            }
            (None, [only]) => (*only).to_owned(),
            (None, _) => return Err(Error::Usage(format!("give --subscription, one of {names:?}"))),
        };
        Ok(TopicsOf { subscription, topics: self.topics })
    }
}
