import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ServersController } from './servers.controller.js';
import { ServersService } from './servers.service.js';
import { WaitDrainService } from './wait-drain.service.js';

@Module({
  imports: [HaproxyModule],
  controllers: [ServersController],
  providers: [ServersService, WaitDrainService],
})
export class ServersModule {}
