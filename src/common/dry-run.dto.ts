import { ArrayField, BooleanField, EnumField, StringField } from './fields.js';

/** What a plan does, step by step; `write_file` stands for the files, the others for HAProxy. */
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
] as const;
export type PlanAction = (typeof PLAN_ACTIONS)[number];

export class PlanStepDto {
  @EnumField(['haproxy', 'file'], { description: 'What would be changed.', example: 'haproxy' })
  target: 'haproxy' | 'file';

  @EnumField(PLAN_ACTIONS, { description: 'How.', name: 'PlanAction', example: 'put_server' })
  action: PlanAction;

  @StringField({ description: 'The server, the domain or the file.', example: 'pool_5_1' })
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
