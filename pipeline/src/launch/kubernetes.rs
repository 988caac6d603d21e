//! Kubernetes: an indexed Job a step, printed as a manifest. Nothing is sent to a cluster.
//!
//! All Jobs but the first are suspended, because Kubernetes knows no order among Jobs; the comment at the head of the
//! manifest is the loop that goes through them.

use std::fmt::Write;

use serde_json::json;

use super::Job;
use super::slurm::job_name;
use super::steps::steps;
use crate::error::Error;

/// Where the pods find the program and the run.
pub struct Pod {
    /// Image whose entry point need not be this program.
    pub image: String,
    /// PersistentVolumeClaim that holds inputs, work folder and dataset.
    pub claim: String,
    /// Where it is mounted: the paths of the plan are below it.
    pub mount: String,
}

/// The manifest. JSON documents are YAML.
///
/// # Errors
/// Where a marker is damaged.
pub fn manifest(job: &Job<'_>, pod: &Pod) -> Result<String, Error> {
    let name = job_name(job)?;
    let steps = steps(job.run, job.jobs())?;
    let names: Vec<String> =
        steps.iter().enumerate().map(|(number, step)| format!("{name}-{number:02}-{}", step.stage)).collect();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# kubectl apply -f THIS; for job in {}; do kubectl patch job $job -p '{{\"spec\":{{\"suspend\":false}}}}' && \
         kubectl wait --for=condition=complete --timeout=-1s job/$job || break; done",
        names.join(" ")
    );
    for (number, (step, name)) in steps.iter().zip(&names).enumerate() {
        // Each index is a share; shares that are done already end at once.
        let mut command = vec![job.program.display().to_string()];
        command.extend(job.arguments(step, "$(JOB_COMPLETION_INDEX)")?);
        let memory = format!("{}Mi", job.run.plan.memory.div_ceil(1 << 20));
        let resources = json!({"cpu": job.cpus().to_string(), "memory": memory});
        let document = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {
                "completionMode": "Indexed",
                "completions": step.of,
                "parallelism": step.of,
                "backoffLimitPerIndex": job.settings.retries,
                "suspend": number > 0,
                "template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "task",
                        "image": pod.image,
                        "command": command,
                        "resources": {"requests": resources, "limits": resources},
                        "volumeMounts": [{"name": "data", "mountPath": pod.mount}],
                    }],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": pod.claim}}],
                }},
            },
        });
        let _ = writeln!(text, "---\n{}", serde_json::to_string_pretty(&document).unwrap_or_default());
    }
    Ok(text)
}
