# Calls: {"calls":[{"cmdlet":"Set-..","parameters":{..}}]}, in order, up to the first that fails. The parameters come with their
# secrets in them, by standard input only, and none is written.
function Convert-Parameter($Value) {
    if ($Value -is [Collections.IDictionary]) {
        if ($Value.ContainsKey('$bytes')) { return , [Convert]::FromBase64String([string]$Value['$bytes']) }
        $secure = ConvertTo-SecureString -String ([string]$Value['$secure']) -AsPlainText -Force
        if (-not $Value.ContainsKey('$user')) { return $secure }
        return New-Object -TypeName 'System.Management.Automation.PSCredential' -ArgumentList ([string]$Value['$user']), $secure
    }
    return , $Value
}

function Invoke-Call($Call) {
    $name = [string]$Call['cmdlet']
    if ($name -cnotmatch '^(New|Set|Add|Remove|Enable|Disable|Import|Install|Uninstall)-[A-Za-z0-9]+$') { throw 'not a cmdlet that changes an object' }
    $command = Get-Command -Name $name -CommandType 'Cmdlet', 'Function'
    $parameters = @{}
    foreach ($key in $Call['parameters'].Keys) { $parameters[$key] = Convert-Parameter $Call['parameters'][$key] }
    # Nobody is there to be asked.
    if ($command.Parameters.ContainsKey('Confirm')) { $parameters['Confirm'] = $false }
    $parameters['ErrorAction'] = 'Stop'
    $parameters['WarningAction'] = 'SilentlyContinue'
    $parameters['WarningVariable'] = 'warned'
    $warned = @()
    $failures = @()
    $state['begun'] += 1
    try {
        [void]@(& $command @parameters)
    } catch {
        $failures += (Format-Failure $_)
    }
    $done = 'true'
    if ($failures.Count -gt 0) { $done = 'false' }
    return '{"cmdlet":' + (Format-Text $name) + ',"done":' + $done + ',"warnings":' + (Format-List @($warned | ForEach-Object { [string]$_ }) 1) + ',"errors":[' + [string]::Join(',', [string[]]$failures) + ']}'
}

$results = @()
$state = @{ 'begun' = 0 }
try {
    $asked = Read-Argument $Arguments
    . Open-Shell
    foreach ($call in $asked['calls']) {
        $result = Invoke-Call $call
        $results += $result
        if ($result.Contains('"done":false')) { break }
    }
    Write-Answer ('{"results":[' + [string]::Join(',', [string[]]$results) + ']}')
} catch {
    # What was done before stays told, and how many calls were begun: one more than ended may have done anything.
    Write-Answer ('{"results":[' + [string]::Join(',', [string[]]$results) + '],"begun":' + $state['begun'].ToString($invariant) + ',"failed":' + (Format-Failure $_) + '}')
} finally {
    Close-Shell
}
