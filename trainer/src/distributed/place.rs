//! Which rank this process is, from what its launcher says: torchrun, Open MPI or Slurm.

use crate::error::{Error, Result};

/// torchrun's default.
const DEFAULT_PORT: u16 = 29_500;

/// This process among the ranks of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub rank: usize,
    /// Ranks in all.
    pub size: usize,
    /// Rank on this machine, from 0: the GPU it takes.
    pub local_rank: usize,
    /// Where rank 0 is.
    pub master: String,
    /// Where rank 0 listens.
    pub port: u16,
    /// Whose variables said so.
    pub launcher: &'static str,
}

/// The variables of a launcher.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    sizes: &'static [&'static str],
    local_rank: &'static str,
    /// Needed too: Slurm sets rank and size in the batch script as well, which is one process.
    also: Option<&'static str>,
    /// What tells this job from others on the same machine.
    job: &'static [&'static str],
}

const LAUNCHERS: [Launcher; 3] = [
    Launcher { name: "torchrun", rank: "RANK", sizes: &["WORLD_SIZE"], local_rank: "LOCAL_RANK", also: None, job: &[] },
    Launcher {
        name: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        sizes: &["OMPI_COMM_WORLD_SIZE"],
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        also: None,
        job: &["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_ess_jobid"],
    },
    Launcher {
        name: "Slurm",
        rank: "SLURM_PROCID",
        sizes: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local_rank: "SLURM_LOCALID",
        also: Some("SLURM_STEP_ID"),
        job: &["SLURM_JOB_ID"],
    },
];

/// The place that the environment gives this process; `None` where no launcher has set rank variables.
///
/// # Errors
/// [`Error::Config`] where the variables are no numbers, contradict each other, or do not say where rank 0 is.
pub fn place(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Place>> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let set = |launcher: &&Launcher| {
        is_set(launcher.rank) && launcher.sizes.iter().any(|name| is_set(name)) && launcher.also.is_none_or(is_set)
    };
    let Some(launcher) = LAUNCHERS.iter().find(set) else { return Ok(None) };
    let size_name = launcher.sizes.iter().copied().find(|name| is_set(name)).unwrap_or_default();
    let (rank, size) = (number(&variable, launcher.rank)?, number(&variable, size_name)?);
    if size == 0 || rank >= size {
        return refuse(format!("{} is {rank}, but {size_name} is {size}", launcher.rank));
    }
    let local_rank = if is_set(launcher.local_rank) { number(&variable, launcher.local_rank)? } else { 0 };
    let master = if size == 1 { String::new() } else { master(&variable, launcher, size)? };
    Ok(Some(Place { rank, size, local_rank, master, port: port(&variable, launcher)?, launcher: launcher.name }))
}

fn refuse<T>(problem: String) -> Result<T> {
    Err(Error::Config { field: "rank", problem })
}

fn number(variable: impl Fn(&str) -> Option<String>, name: &str) -> Result<usize> {
    let value = variable(name).unwrap_or_default();
    value.trim().parse().or_else(|_| refuse(format!("{name} is {value:?}, which is no number")))
}

/// Where rank 0 is.
fn master(variable: impl Fn(&str) -> Option<String>, launcher: &Launcher, size: usize) -> Result<String> {
    if let Some(master) = variable("MASTER_ADDR").filter(|master| !master.is_empty()) {
        return Ok(master);
    }
    let here = || "127.0.0.1".to_owned();
    let nodes = variable("SLURM_STEP_NODELIST").or_else(|| variable("SLURM_JOB_NODELIST"));
    let all_here = variable("OMPI_COMM_WORLD_LOCAL_SIZE").is_some_and(|local| local == size.to_string());
    match (launcher.name, nodes) {
        ("Open MPI", _) if all_here => Ok(here()),
        ("Slurm", Some(nodes)) => Ok(first_node(&nodes)),
        _ => refuse(format!("{} gives {size} ranks, but MASTER_ADDR does not say where rank 0 is", launcher.name)),
    }
}

/// The first of Slurm's list of nodes: `node[03-07,9],other` is `node03`.
fn first_node(nodes: &str) -> String {
    let end = nodes.find([',', '[']).unwrap_or(nodes.len());
    let (name, rest) = nodes.split_at(end);
    let Some(numbers) = rest.strip_prefix('[') else { return name.to_owned() };
    let end = numbers.find(['-', ',', ']']).unwrap_or(numbers.len());
    format!("{name}{}", &numbers[..end])
}

/// Where rank 0 listens. torchrun itself listens on MASTER_PORT, so the next is taken there.
fn port(variable: impl Fn(&str) -> Option<String>, launcher: &Launcher) -> Result<u16> {
    let own_store = variable("TORCHELASTIC_RUN_ID").is_some();
    if variable("MASTER_PORT").is_some_and(|port| !port.is_empty()) {
        let port = number(&variable, "MASTER_PORT")? + usize::from(own_store);
        return u16::try_from(port).or_else(|_| refuse(format!("MASTER_PORT gives port {port}")));
    }
    let job = launcher.job.iter().find_map(|name| variable(name));
    Ok(job.map_or(DEFAULT_PORT, |job| 20_000 + (crate::rng::stream(&job) % 20_000) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        place(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn without_rank_variables_there_is_no_place() {
        assert_eq!(of(&[("PATH", "/bin"), ("MASTER_ADDR", "a")]).unwrap(), None);
    }

    #[test]
    fn torchruns_port_is_taken_so_the_next_is_used() {
        let variables = [
            ("RANK", "3"),
            ("WORLD_SIZE", "8"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "node1"),
            ("MASTER_PORT", "29400"),
            ("TORCHELASTIC_RUN_ID", "none"),
        ];
        let place = of(&variables).unwrap().unwrap();
        assert_eq!((place.rank, place.size, place.local_rank), (3, 8, 1));
        assert_eq!((place.master.as_str(), place.port, place.launcher), ("node1", 29_401, "torchrun"));
        assert_eq!(of(&variables[..5]).unwrap().unwrap().port, 29_400);
    }

    #[test]
    fn slurm_tells_its_first_node_and_a_port_by_job() {
        let variables = [
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "0"),
            ("SLURM_STEP_NODELIST", "gpu[07-09,11]"),
            ("SLURM_JOB_ID", "991"),
            ("SLURM_STEP_ID", "0"),
        ];
        let place = of(&variables).unwrap().unwrap();
        assert_eq!((place.master.as_str(), place.launcher), ("gpu07", "Slurm"));
        assert!((20_000..40_000).contains(&place.port));
        // The batch script itself is one process, though Slurm sets rank and size there.
        assert_eq!(of(&variables[..5]).unwrap(), None);
    }

    #[test]
    fn open_mpi_on_one_machine_needs_no_address() {
        let mut variables = vec![
            ("OMPI_COMM_WORLD_RANK", "0"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "0"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        assert_eq!(of(&variables).unwrap().unwrap().master, "127.0.0.1");
        variables[3].1 = "1";
        assert!(of(&variables).unwrap_err().to_string().contains("MASTER_ADDR"));
    }

    #[test]
    fn variables_that_contradict_are_refused_by_name() {
        let error = of(&[("RANK", "2"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")]).unwrap_err().to_string();
        assert!(error.contains("RANK is 2, but WORLD_SIZE is 2"), "{error}");
        let error = of(&[("RANK", "x"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")]).unwrap_err().to_string();
        assert!(error.contains("RANK is \"x\""), "{error}");
    }

    #[test]
    fn nodes_of_one_name_and_lists_have_a_first() {
        assert_eq!(
            ["a", "a", "n1", "n03"],
            ["a", "a,b", "n[1]", "n[03-5],m"].map(first_node).each_ref().map(String::as_str)
        );
    }
}
