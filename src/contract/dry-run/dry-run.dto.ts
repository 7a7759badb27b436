import {
  ArrayField,
  BooleanField,
  EnumField,
  IntField,
  JsonObjectField,
  StringField,
} from '../fields/fields.js';

/** The actions of a plan. `adopt_value` copies a value of HAProxy into the saved state. */
const PLAN_ACTIONS = [
  'add_pool',
  'put_server',
  'set_weight',
  'set_state',
  'remove_server',
  'add_domain',
  'set_domain',
  'del_domain',
  'set_site',
  'remove_pool',
  'write_file',
  'reload',
  'adopt_value',
  'load_certificate',
  'delete_certificate',
  'issue_certificate',
] as const;
const PLAN_TARGETS = ['haproxy', 'file', 'ca'] as const;
type PlanAction = (typeof PLAN_ACTIONS)[number];

export class PlanStepDto {
  @EnumField(PLAN_TARGETS, {
    description: 'What the step changes: HAProxy, a file of the suite, or a certificate of the CA.',
    example: 'haproxy',
  })
  target: (typeof PLAN_TARGETS)[number];

  @EnumField(PLAN_ACTIONS, { description: 'What the step does.', name: 'PlanAction', example: 'put_server' })
  action: PlanAction;

  @StringField({
    description: 'The server, domain, pool or file that the step changes, or haproxy.',
    example: 'pool_5_1',
  })
  name: string;

  @StringField({ description: 'The step in plain text.', example: 'pool_5_1 becomes 10.0.0.1:80' })
  text: string;
}

/** The argument of every operation that has a dry run. */
export class DryRunDto {
  @BooleanField({
    description: 'Only show the plan.',
    // A guess could turn a dry run into a change.
    exact: true,
  })
  dry_run: boolean = false;
}

/** The fields that every change adds to the result of an operation. */
export class PlannedDto {
  @BooleanField({ description: 'True after a dry run: nothing was changed.', optional: true })
  dry_run?: boolean;

  @ArrayField(PlanStepDto, {
    description: 'Only with dry_run: the steps in their order. Empty if nothing would change.',
    optional: true,
  })
  plan?: PlanStepDto[];

  @JsonObjectField({
    description: 'What the change removes or overwrites, so that it can be put back. Absent if it only adds.',
    optional: true,
  })
  before?: object;
}

/** The fields that a change of the saved state adds to the result of an operation. */
export class StateChangeDto extends PlannedDto {
  @IntField({
    description: 'The revision that the change made. Absent if it changed nothing.',
    min: 1,
    example: 43,
    optional: true,
  })
  revision?: number;
}

/** The largest number of steps in one answer. */
const STEPS_SHOWN = 100;

/** The added fields of an operation whose plan can have any number of steps. */
export class LongPlannedDto extends PlannedDto {
  @IntField({
    description: 'Only with dry_run: the number of steps; plan has the first 100.',
    min: 0,
    optional: true,
  })
  plan_steps?: number;
}

/** The first steps of a long plan, and how many it has. */
export function shownOf(plan: readonly PlanStepDto[]): Required<Pick<LongPlannedDto, 'plan' | 'plan_steps'>> {
  return { plan: plan.slice(0, STEPS_SHOWN), plan_steps: plan.length };
}
