//! Several plans of one Dockerfile as one: for several platforms, for several targets. What they share is in it once.

use std::collections::BTreeSet;

use crate::{Base, MountKind, Op, Origin, Plan, Stage, StageId};

/// The stages of several plans, each after the stages it refers to, and none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joint {
    /// The stages; a [`StageId`] is an index into this list.
    pub stages: Vec<Stage>,
    /// What becomes an image: one for each plan, in their order.
    pub targets: Vec<Target>,
}

/// A stage whose result becomes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The stage.
    pub stage: StageId,
    /// `SOURCE_DATE_EPOCH`: no time in the image is later, in seconds since 1970.
    pub epoch: Option<i64>,
}

impl Joint {
    /// Returns a stage.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0]
    }

    /// Adds a plan. A stage that is there already, with the same base and the same steps, is taken for its own.
    pub fn add(&mut self, plan: Plan) {
        let Plan { stages, target, epoch } = plan;
        let mut places: Vec<StageId> = Vec::with_capacity(stages.len());
        for mut stage in stages {
            stage.refer(&places);
            let known = self.stages.iter().find(|known| {
                // All that can differ between equal stages of two plans.
                stage.id = known.id;
                **known == stage
            });
            let id = known.map_or(StageId(self.stages.len()), |known| known.id);
            if id.0 == self.stages.len() {
                self.stages.push(Stage { id, ..stage });
            }
            places.push(id);
        }
        self.targets.push(Target { stage: places[target.0], epoch });
    }

    /// Returns a stage and all stages that it needs.
    pub fn needed(&self, stage: StageId) -> BTreeSet<StageId> {
        let mut needed = BTreeSet::new();
        let mut open = vec![stage];
        while let Some(id) = open.pop() {
            if needed.insert(id) {
                open.extend(self.stage(id).needs());
            }
        }
        needed
    }
}

impl Stage {
    /// Returns the stages that this one refers to.
    pub fn needs(&self) -> BTreeSet<StageId> {
        let base = match self.base {
            Base::Stage(id) => Some(id),
            Base::Scratch | Base::Image { .. } | Base::Context { .. } => None,
        };
        let origins = self.steps.iter().flat_map(|step| step.op.origins());
        let stages = origins.filter_map(|origin| match origin {
            Origin::Stage(id) => Some(*id),
            Origin::Context | Origin::Named { .. } | Origin::Image { .. } | Origin::Scratch => None,
        });
        base.into_iter().chain(stages).collect()
    }

    /// Lets the stage refer to others: to the one at `places[n]` where it referred to stage n.
    fn refer(&mut self, places: &[StageId]) {
        if let Base::Stage(id) = &mut self.base {
            *id = places[id.0];
        }
        for step in &mut self.steps {
            match &mut step.op {
                Op::Config | Op::Workdir(_) => {}
                Op::Copy(copy) => refer(&mut copy.origin, places),
                Op::Run(run) => {
                    for mount in &mut run.mounts {
                        match &mut mount.kind {
                            MountKind::Bind { origin, .. } | MountKind::Cache { origin, .. } => {
                                refer(origin, places);
                            }
                            MountKind::Tmpfs { .. }
                            | MountKind::Secret { .. }
                            | MountKind::Ssh { .. } => {}
                        }
                    }
                }
            }
        }
    }
}

fn refer(origin: &mut Origin, places: &[StageId]) {
    if let Origin::Stage(id) = origin {
        *id = places[id.0];
    }
}

#[cfg(test)]
mod tests {
    use oci::{ImageConfig, Platform};

    use super::*;
    use crate::{Copy, CopySource, Mount, Run, Step};

    fn copy(from: Origin, path: &str) -> Step {
        step(Op::Copy(Copy::new(from, vec![CopySource::Path(path.to_owned())], "/")))
    }

    fn step(op: Op) -> Step {
        Step { op, title: String::new(), created_by: None, config: None, lines: (1, 1) }
    }

    fn stage(index: usize, platform: &str, base: Base, steps: Vec<Step>) -> Stage {
        let platform = Platform::parse(platform).unwrap();
        let config = ImageConfig::scratch(&platform);
        Stage { id: StageId(index), index, name: None, platform, base, steps, config }
    }

    /// A tool for this machine, and what it makes for a platform.
    fn cross(platform: &str) -> Plan {
        let stages = vec![
            stage(0, "linux/amd64", Base::Scratch, vec![copy(Origin::Context, "tool")]),
            stage(1, platform, Base::Scratch, vec![copy(Origin::Stage(StageId(0)), platform)]),
            stage(2, platform, Base::Stage(StageId(1)), Vec::new()),
        ];
        Plan { stages, target: StageId(2), epoch: Some(1) }
    }

    fn joined(plans: impl IntoIterator<Item = Plan>) -> Joint {
        let mut joint = Joint::default();
        plans.into_iter().for_each(|plan| joint.add(plan));
        for (place, stage) in joint.stages.iter().enumerate() {
            assert_eq!(stage.id, StageId(place));
            assert!(stage.needs().iter().all(|id| id.0 < place), "{stage:?}");
        }
        joint
    }

    #[test]
    fn what_plans_share_is_there_once() {
        let joint = joined([cross("linux/arm64"), cross("linux/riscv64"), cross("linux/arm64")]);
        assert_eq!(joint.stages.len(), 5);
        let stages: Vec<usize> = joint.targets.iter().map(|target| target.stage.0).collect();
        assert_eq!(stages, [2, 4, 2]);
        assert_eq!(joint.stage(StageId(4)).base, Base::Stage(StageId(3)));
        assert_eq!(joint.stage(StageId(3)).needs(), BTreeSet::from([StageId(0)]));
        assert_eq!(joint.needed(StageId(4)), [0, 3, 4].map(StageId).into());
    }

    #[test]
    fn one_plan_is_itself() {
        let plan = cross("linux/arm64");
        let joint = joined([plan.clone()]);
        assert_eq!(joint.stages, plan.stages);
        assert_eq!(joint.targets, [Target { stage: plan.target, epoch: plan.epoch }]);
    }

    #[test]
    fn a_stage_on_another_stage_is_another_one() {
        let with = |path: &str| {
            let mut plan = cross("linux/arm64");
            plan.stages[0].steps = vec![copy(Origin::Context, path)];
            let kind = MountKind::Bind {
                origin: Origin::Stage(StageId(0)),
                source: "/".to_owned(),
                read_write: false,
            };
            let mounts = vec![Mount { target: "/from".to_owned(), kind }];
            let run = Run { mounts, ..crate::key::tests::run() };
            plan.stages[2].steps = vec![step(Op::Run(run))];
            plan
        };
        let joint = joined([with("a"), with("b")]);
        assert_eq!(joint.stages.len(), 6, "nothing below is the same");
        assert_eq!(joint.stage(StageId(5)).needs(), [3, 4].map(StageId).into());
    }
}
