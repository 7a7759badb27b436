import { ArrayField, BooleanField, EnumField, IntField, StringField } from '../fields/fields.js';

/** What a plan does, step by step. `adopt_value` takes into the saved state what HAProxy has. */
export const PLAN_ACTIONS = [
  'add_pool',
  'put_server',
  'set_weight',
  'set_state',
  'remove_server',
  'add_domain',
  'set_domain',
  'del_domain',
  'remove_pool',
  'write_file',
  'reload',
  'adopt_value',
  'load_certificate',
  'delete_certificate',
  'issue_certificate',
] as const;
export const PLAN_TARGETS = ['haproxy', 'file', 'ca'] as const;
export type PlanAction = (typeof PLAN_ACTIONS)[number];

export class PlanStepDto {
  @EnumField(PLAN_TARGETS, {
    description: 'What would be changed: HAProxy, a file of the suite, or what the CA has issued.',
    example: 'haproxy',
  })
  target: (typeof PLAN_TARGETS)[number];

  @EnumField(PLAN_ACTIONS, { description: 'How.', name: 'PlanAction', example: 'put_server' })
  action: PlanAction;

  @StringField({ description: 'The server, the domain, the file, or haproxy itself.', example: 'pool_5_1' })
  name: string;

  @StringField({ description: 'The step in words.', example: 'pool_5_1 becomes 10.0.0.1:80' })
  text: string;
}

/** The argument of everything that changes something and can say what it would change. */
export class DryRunDto {
  @BooleanField({ description: 'Change nothing: answer what would be, and the plan that leads there.' })
  dry_run: boolean = false;
}

/** What such an operation answers besides, and only for a dry run. */
export class PlannedDto {
  @BooleanField({ description: 'True where nothing was changed because dry_run asked so.', optional: true })
  dry_run?: boolean;

  @ArrayField(PlanStepDto, {
    description: 'Only with dry_run: what would be done, in this order. Empty where nothing would change.',
    optional: true,
  })
  plan?: PlanStepDto[];
}

/** Steps that an answer shows of a plan that may have any number of them. */
const STEPS_SHOWN = 100;

/** The same where a plan may be long. */
export class LongPlannedDto extends PlannedDto {
  @IntField({
    description: 'Only with dry_run: how many steps there would be; plan shows the first 100.',
    min: 0,
    optional: true,
  })
  plan_steps?: number;
}

/** What such an answer says of a plan. */
export function shownOf(plan: readonly PlanStepDto[]): Required<Pick<LongPlannedDto, 'plan' | 'plan_steps'>> {
  return { plan: plan.slice(0, STEPS_SHOWN), plan_steps: plan.length };
}
