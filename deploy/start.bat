@echo off
rem Starts the bot in a window that stays open when something is wrong. Double-click it.
setlocal
cd /d "%~dp0.."
set "PYTHON=.venv\Scripts\python.exe"
if not exist "%PYTHON%" (
  echo There is no virtual environment in this folder yet. Open a Command Prompt here and run:
  echo     py -m venv .venv
  echo     .venv\Scripts\python -m pip install -r requirements.txt
  pause
  exit /b 78
)
"%PYTHON%" bot.py %*
set "CODE=%ERRORLEVEL%"
if "%CODE%"=="0" exit /b 0
echo.
echo The bot stopped with exit code %CODE%. The lines above say why. To check for problems, run:
echo     .venv\Scripts\python bot.py doctor
pause
exit /b %CODE%
