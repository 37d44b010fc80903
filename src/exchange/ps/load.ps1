$ErrorActionPreference = 'Stop'
$lines = [Console]::In.ReadToEnd().Split("`n")
$text = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($lines[0].Trim()))
& ([ScriptBlock]::Create($text)) $lines[1].Trim()
