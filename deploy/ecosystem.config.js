// The bot under PM2. `bot.py install pm2` makes it from deploy/ecosystem.config.js.
module.exports = {
  apps: [
    {
      name: "cryptosat",
      cwd: "@FOLDER@",
      script: "@SCRIPT_PATH@",
      args: [@OPTIONS@],
      interpreter: "@PYTHON_PATH@",
      exec_mode: "fork",
      instances: 1,
      watch: false,
      autorestart: true,
      // 64 arguments, 75 already running, 77 token refused, 78 settings: no restart. Not 0: PM2 takes a process that
      // was killed (out of memory, say) for one that ended with 0. So stop the bot with `pm2 stop cryptosat`.
      stop_exit_codes: [64, 75, 77, 78],
      // A crash starts again after 0.2 s, then after longer and longer up to 15 s. Because of this line PM2 shows
      // "waiting restart" after one of the codes above too, although it does not start again.
      exp_backoff_restart_delay: 200,
      // PM2 kills 1.6 s after it has asked; the bot needs less, a slow disk may need more.
      kill_timeout: 8000,
    },
  ],
};
